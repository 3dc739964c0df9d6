"""Tokenizers that could hide the end of a completion are refused."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from feedback.errors import ArtifactMissing, ConfigError
from trainer.data.tokens import PLAIN_CHAT_TEMPLATE, load_tokenizer, require_same_tokenizer, save_tokenizer


def test_padding_equal_to_eos_is_refused(tmp_path: Path, tiny_policy_dir: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_policy_dir)
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"same token.*'<eos>'"):
        load_tokenizer(tmp_path)


def test_missing_padding_becomes_the_unknown_token_and_says_so(stories_dir: Path) -> None:
    with pytest.warns(UserWarning, match="padding with '<unk>'"):
        tokenizer = load_tokenizer(stories_dir)
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id) == (0, 2, 1)
    assert tokenizer.chat_template == PLAIN_CHAT_TEMPLATE


def test_tokenizer_without_padding_or_unknown_token_is_refused(tmp_path: Path, tiny_policy_dir: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_policy_dir)
    tokenizer.pad_token = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="neither a padding token"):
        load_tokenizer(tmp_path)


def test_tokenizer_without_eos_is_refused(tmp_path: Path, tiny_policy_dir: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_policy_dir)
    tokenizer.eos_token = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="no EOS"):
        load_tokenizer(tmp_path)


def test_absent_tokenizer_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ArtifactMissing, match=str(tmp_path)):
        load_tokenizer(tmp_path / "nothing")


def test_saved_tokenizer_is_two_files_with_the_template_inside(tmp_path: Path, tiny_policy_dir: Path) -> None:
    tokenizer = load_tokenizer(tiny_policy_dir)
    save_tokenizer(tokenizer, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"tokenizer.json", "tokenizer_config.json"}
    require_same_tokenizer(tokenizer, load_tokenizer(tmp_path))


def test_different_tokenizers_are_told_apart(tmp_path: Path, tiny_policy_dir: Path) -> None:
    first = load_tokenizer(tiny_policy_dir)
    second = AutoTokenizer.from_pretrained(tiny_policy_dir)
    second.chat_template = PLAIN_CHAT_TEMPLATE
    with pytest.raises(ConfigError, match="chat template differ"):
        require_same_tokenizer(first, second)
    second.chat_template = first.chat_template
    second.add_tokens(["extra"])
    with pytest.raises(ConfigError, match="vocabulary differ"):
        require_same_tokenizer(first, second)


def test_plain_template_keeps_turns_apart(stories_dir: Path) -> None:
    with pytest.warns(UserWarning, match="no padding token"):
        tokenizer = load_tokenizer(stories_dir)
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
    messages.append({"role": "user", "content": "Hm"})
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert text == "<s>User: Hi\nAssistant: Ho\nUser: Hm\nAssistant:"
