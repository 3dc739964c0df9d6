"""A random two-layer Llama with a byte-level tokenizer, real enough for every stage and small enough for a second."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from trainer.models.scalar import ScalarModel

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL_TOKENS = ["<pad>", "<bos>", "<eos>", "<|system|>", "<|user|>", "<|assistant|>"]
CORPUS = [
    "The red fox lives in the green wood and eats berries.",
    "Where does the fox live? The fox lives in the wood.",
    "Name three colours: red, green and blue.",
    "The old owl sleeps by day and hunts by night.",
] * 4


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE of about 300 tokens with distinct pad, bos and eos and a chat template."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>", model_max_length=256
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def build_policy(tokenizer: PreTrainedTokenizerFast, *, seed: int = 0, tied: bool = True) -> LlamaForCausalLM:
    """A random Llama of two layers, width 64, that knows the tokenizer's special tokens."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=2,  # 32 wide, the least that vLLM runs on a CPU
        num_key_value_heads=1,
        max_position_embeddings=256,
        tie_word_embeddings=tied,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        initializer_range=0.2,
        dtype="float32",
    )
    return LlamaForCausalLM(config).float()


@pytest.fixture(scope="session")
def tiny_policy_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy directory in the Hugging Face layout: weights, config, tokenizer with chat template."""
    directory = tmp_path_factory.mktemp("policy")
    tokenizer = build_tokenizer()
    build_policy(tokenizer).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Tests share their cores with others, and bit-equality is promised for a fixed number of threads."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_reward_dir(tiny_policy_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reward model with a random head on the tiny policy's trunk."""
    directory = tmp_path_factory.mktemp("reward")
    torch.manual_seed(1)
    ScalarModel.from_policy(tiny_policy_dir).save(directory)
    return directory


@pytest.fixture(scope="session")
def prompt_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty prompts of unequal length."""
    path = tmp_path_factory.mktemp("prompts") / "prompts.jsonl"
    rows = [{"id": f"p{n}", "prompt": "Where does the fox live?" + " Tell me." * (n % 5)} for n in range(40)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="session")
def text_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few hundred short documents for the pretraining term."""
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("\n".join(CORPUS * 20))
    return path


@pytest.fixture(scope="session")
def stories_dir(data_root: Path) -> Path:
    """A real pretrained model of 260 k parameters; tests that need it are skipped where it is absent."""
    directory = data_root / "model-stories260k"
    if not directory.is_dir():
        pytest.skip(f"{directory} is not here")
    return directory
