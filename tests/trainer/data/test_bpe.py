"""The trained tokenizer: any text round-trips, special tokens are distinct, serving finds the template."""

import random
from pathlib import Path

import pytest

from feedback.errors import DataError
from trainer.data.bpe import train_tokenizer
from trainer.data.tokens import load_tokenizer, save_tokenizer

DOCUMENTS = ["the fox lives in the wood", "the owl lives in the tree"] * 20


def test_any_text_round_trips(tmp_path: Path) -> None:
    save_tokenizer(train_tokenizer(DOCUMENTS, 300), tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    generator = random.Random(0)
    texts = ["", " leading", "trailing ", "a\n\n b\t", "naïve 日本語 🦊", "\x00\x7f", "don't  stop", "x" * 500]
    texts += ["".join(chr(generator.choice([*range(32, 0x2FF), 0x1F600])) for _ in range(30)) for _ in range(50)]
    for text in texts:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids) == text


def test_special_tokens_are_distinct_and_never_added(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(DOCUMENTS, 300, special_tokens=["<|user|>"], context_tokens=99)
    assert (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id) == (0, 1, 2)
    assert tokenizer("<|user|>")["input_ids"] == [3]
    assert tokenizer("fox")["input_ids"] == tokenizer("fox", add_special_tokens=False)["input_ids"]
    save_tokenizer(tokenizer, tmp_path)
    assert load_tokenizer(tmp_path).model_max_length == 99


def test_given_template_is_saved_inside_the_configuration(tmp_path: Path) -> None:
    template = "{% for m in messages %}[{{ m['content'] }}]{% endfor %}"
    save_tokenizer(train_tokenizer(DOCUMENTS, 300, chat_template=template), tmp_path)
    assert load_tokenizer(tmp_path).chat_template == template
    assert not (tmp_path / "chat_template.jinja").exists()


def test_same_documents_give_the_same_tokenizer() -> None:
    first, second = (train_tokenizer(DOCUMENTS, 320).get_vocab() for _ in range(2))
    assert first == second


def test_vocabulary_has_the_size_asked_for_if_the_text_has_enough_merges() -> None:
    assert len(train_tokenizer(DOCUMENTS, 270)) == 270
    with pytest.raises(DataError, match="no documents"):
        train_tokenizer([], 300)
