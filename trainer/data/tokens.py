"""Tokenizers with distinct padding and EOS tokens and a chat template, and whether two are the same.

Knows special tokens and templates; does not know models or data.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import cast

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from feedback.errors import ArtifactMissing, ConfigError

PLAIN_CHAT_TEMPLATE = (
    "{{ bos_token or '' }}{% for message in messages %}{{ message['role'] | capitalize }}: {{ message['content'] }}\n"
    "{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
"""Template given to a tokenizer that has none; saved with the policy, so that serving renders the same."""


def load_tokenizer(path: str | Path) -> PreTrainedTokenizerBase:
    """Return a tokenizer with distinct padding and EOS tokens and a chat template.

    A tokenizer without padding gets its unknown token for it (never produced by a byte-level or byte-fallback
    tokenizer), with a warning that says so; embeddings are never resized.

    Raises:
        ArtifactMissing: there is no tokenizer at ``path``.
        ConfigError: no EOS, padding equal to EOS, or no token that could serve as padding.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(path))
    except (OSError, ValueError) as error:
        raise ArtifactMissing(f"{path}: no loadable tokenizer: {first_line(error)}") from error
    if tokenizer.eos_token_id is None:
        raise ConfigError(f"{path}: the tokenizer has no EOS token, so that no completion could ever end")
    if tokenizer.pad_token_id is None:
        if tokenizer.unk_token_id in (None, tokenizer.eos_token_id):
            raise ConfigError(f"{path}: the tokenizer has neither a padding token nor an unknown token to use for it")
        tokenizer.pad_token = tokenizer.unk_token
        warnings.warn(f"{path}: no padding token; padding with {tokenizer.unk_token!r}", stacklevel=2)
    if tokenizer.pad_token_id == tokenizer.eos_token_id:
        raise ConfigError(
            f"{path}: padding and EOS are the same token ({tokenizer.eos_token!r}, id {tokenizer.eos_token_id}); "
            "masks would hide the end of every completion: give the tokenizer a padding token of its own"
        )
    if tokenizer.chat_template is None:
        tokenizer.chat_template = PLAIN_CHAT_TEMPLATE
    return cast(PreTrainedTokenizerBase, tokenizer)


def require_same_tokenizer(
    first: PreTrainedTokenizerBase, second: PreTrainedTokenizerBase, what: str = "policy and reward model"
) -> None:
    """Refuse two models whose token ids or chat templates differ.

    Raises:
        ConfigError: vocabulary, special tokens or chat template differ; says which.
    """
    sides = [
        {
            "vocabulary": tokenizer.get_vocab(),
            "EOS": tokenizer.eos_token_id,
            "padding": tokenizer.pad_token_id,
            "chat template": tokenizer.chat_template,
        }
        for tokenizer in (first, second)
    ]
    differences = [name for name in sides[0] if sides[0][name] != sides[1][name]]
    if differences:
        raise ConfigError(f"{what} do not share a tokenizer: {', '.join(differences)} differ; retrain one of them")


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, directory: str | Path) -> None:
    """Write tokenizer.json and tokenizer_config.json, the chat template inside the latter."""
    tokenizer.save_pretrained(str(directory), save_jinja_files=False)


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type's name."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
