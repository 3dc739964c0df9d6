"""One PPO problem that two trainers are given alike: models, tokenizer, prompts, and a reward whose rule is known.

Knows the problem; does not know either trainer. The rule: the share of *good* tokens among prompt and completion, times
``GAIN``; no prompt holds one. The reward model computes it exactly, at a usual model's cost: its first layer attends to
all tokens alike and averages one feature of their embeddings, and its other layers add nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedTokenizerFast

PAD, EOS, FIRST_GOOD = 0, 1, 2
PROMPT_TOKENS, PROMPTS, HELD_OUT = 32, 1024, 256
GAIN = 4.0
LOUD, FEATURE, MEAN = 0, 1, 2
"""Dimensions of the reward model's residual stream: a constant that fixes its norm, goodness, share of goodness."""


@dataclass(frozen=True)
class Problem:
    """Its size and where it lies.

    Attributes:
        directory: of models, tokenizer and prompts.
        vocabulary: tokens; an eighth of them are good.
        width: of all models' residual streams.
        layers: of all models.
    """

    directory: Path
    vocabulary: int = 512
    width: int = 128
    layers: int = 4

    @property
    def good(self) -> range:
        """The good tokens."""
        return range(FIRST_GOOD, FIRST_GOOD + self.vocabulary // 8)

    def config(self) -> LlamaConfig:
        """The configuration of every model."""
        return LlamaConfig(
            vocab_size=self.vocabulary, hidden_size=self.width, intermediate_size=4 * self.width,
            num_hidden_layers=self.layers, num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=512,
            pad_token_id=PAD, eos_token_id=EOS, bos_token_id=None, tie_word_embeddings=False, num_labels=1,
            dtype="float32",
        )  # fmt: skip

    def gold(self, completions: Sequence[Sequence[int]]) -> list[float]:
        """What the rule says of each completion (EOS included where it came) of a prompt of ``PROMPT_TOKENS``."""
        return [GAIN * sum(t in self.good for t in each) / (PROMPT_TOKENS + len(each)) for each in completions]

    def prompts(self, count: int, seed: int) -> list[list[int]]:
        """Random prompts without a good token."""
        generator = torch.Generator().manual_seed(seed)
        low, high = self.good.stop, self.vocabulary
        return [torch.randint(low, high, (PROMPT_TOKENS,), generator=generator).tolist() for _ in range(count)]

    def write(self) -> Problem:
        """Write everything that both sides read, unless it is there: ``policy``, ``reward``, ``value``, prompts."""
        if (self.directory / "whole").is_file():
            return self
        self.directory.mkdir(parents=True, exist_ok=True)
        for name, model in {"policy": self._policy(), "reward": self._reward(), "value": self._value()}.items():
            model.save_pretrained(self.directory / name)
        self._tokenizer().save_pretrained(self.directory / "policy")
        rows = self.prompts(PROMPTS, seed=4)
        (self.directory / "prompts.json").write_text(json.dumps(rows))
        lines = [{"id": f"p{n:05}", "prompt": words(row)} for n, row in enumerate(rows)]
        (self.directory / "prompts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (self.directory / "text.txt").write_text("".join(words(row * 2) + "\n" for row in self.prompts(2048, seed=5)))
        (self.directory / "whole").touch()
        return self

    def _policy(self) -> LlamaForCausalLM:
        """Random weights; every token's embedding has a loud feature through which padding is never drawn."""
        torch.manual_seed(1)
        policy = LlamaForCausalLM(self.config())
        with torch.no_grad():
            policy.model.embed_tokens.weight[:, LOUD] = 0.2
            policy.lm_head.weight[:, LOUD] = 0.0
            policy.lm_head.weight[PAD, LOUD] = -10.0
        return policy

    def _value(self) -> LlamaForSequenceClassification:
        torch.manual_seed(3)
        return LlamaForSequenceClassification(self.config())

    def _reward(self) -> LlamaForSequenceClassification:
        torch.manual_seed(2)
        model = LlamaForSequenceClassification(self.config())
        loud = 64.0  # so loud that goodness does not change the norm
        with torch.no_grad():
            embeddings = model.model.embed_tokens.weight
            embeddings.zero_()
            embeddings[:, LOUD] = loud
            embeddings[self.good.start : self.good.stop, FEATURE] = 1.0
            for layer in model.model.layers:
                for matrix in (layer.self_attn.q_proj, layer.self_attn.o_proj, layer.mlp.down_proj):
                    matrix.weight.zero_()
            first = model.model.layers[0].self_attn
            first.v_proj.weight.zero_()
            first.v_proj.weight[0, FEATURE] = 1.0
            first.o_proj.weight[MEAN, 0] = 1.0
            scale = loud / self.width**0.5  # both norms divide by it
            model.score.weight.zero_()
            model.score.weight[0, MEAN] = GAIN * scale * scale
        return model

    def _tokenizer(self) -> PreTrainedTokenizerFast:
        names = {"<pad>": PAD, "<eos>": EOS} | {f"t{token}": token for token in range(2, self.vocabulary)}
        plain = Tokenizer(models.WordLevel(names, unk_token="<pad>"))
        plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=plain, pad_token="<pad>", eos_token="<eos>", padding_side="left"
        )
        tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
        return tokenizer


def words(tokens: Sequence[int]) -> str:
    """The text that the tokenizer reads as these tokens."""
    return " ".join(f"t{token}" for token in tokens)


def shared_settings(**changed: Any) -> dict[str, Any]:
    """What both sides are told, by neutral names.

    The rate is half of 1e-3, with which ours lost seed 3 in its first eight steps: nothing holds padding's logit back,
    Adam's first steps are as large whatever the gradient, and padding became the likeliest token. With half of it TRL
    still loses seed 5 so, and ends with an error.
    """
    return {
        "batch": 64, "minibatches": 8, "response_tokens": 32, "kl_coef": 0.02, "missing_eos_penalty": 1.0,
        "lr": 5e-4, "temperature": 1.0, "gamma": 1.0, "lam": 0.95, "clip": 0.2, "value_clip": 0.2,
    } | changed  # fmt: skip
