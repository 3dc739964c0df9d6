"""A byte-level BPE tokenizer trained on documents: any text round-trips, no token is unknown.

Knows special tokens and the chat template; does not know models.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from feedback.errors import DataError
from trainer.data.tokens import PLAIN_CHAT_TEMPLATE

PAD, BOS, EOS = "<pad>", "<bos>", "<eos>"


def train_tokenizer(
    documents: Iterable[str],
    vocab_size: int,
    *,
    chat_template: str | None = None,
    special_tokens: Sequence[str] = (),
    context_tokens: int = 512,
    bos: bool = True,
) -> PreTrainedTokenizerBase:
    """Return a tokenizer with distinct padding, BOS and EOS tokens that adds none of them by itself.

    Args:
        documents: training text.
        vocab_size: tokens in all; fewer if the text has fewer merges to offer.
        chat_template: Jinja source; a plain `User: ... Assistant:` one by default.
        special_tokens: more special tokens.
        context_tokens: the model's context, recorded with the tokenizer.
        bos: whether there is a BOS token. Ids are given in the order padding, BOS, EOS, others.

    Raises:
        DataError: there are no documents.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, *([BOS] if bos else []), EOS, *special_tokens],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    first = next(iterator := iter(documents), None)
    if first is None:
        raise DataError("no documents to train a tokenizer on")
    tokenizer.train_from_iterator(_chain(first, iterator), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS if bos else None,
        eos_token=EOS,
        additional_special_tokens=list(special_tokens),
        chat_template=chat_template or PLAIN_CHAT_TEMPLATE,
        model_max_length=context_tokens,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def _chain(first: str, rest: Iterable[str]) -> Iterable[str]:
    yield first
    yield from rest
