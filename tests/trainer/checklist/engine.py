"""A stand-in for vLLM that the real sampler drives: a model of its own, loaded by the real reload, and what was asked.

Whether a real engine does the same is tested in ``tests/trainer/rollouts/test_vllm_sampler.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from safetensors.torch import load_file

from tests.trainer.checklist.tiny import EOS, PAD
from trainer.models.policies import load_policy
from trainer.rollouts.engine_worker import PolicyReload
from trainer.rollouts.transformers_sampler import TransformersSampler


class Engine(PolicyReload):
    """vLLM's engine and its worker in one.

    Attributes:
        asked: the engine's arguments.
        parameters: sampling parameters of the latest call.
        forgets: whether a reset of the prefix cache succeeds.
        missing: drop the log-probability of the first sampled token.
        during: called in the middle of a generation.
        version: of the weights, as it says itself.
    """

    def __init__(self, **asked: Any) -> None:
        self.asked, self.device, self.forgets, self.missing = asked, torch.device("cpu"), True, False
        self.parameters: list[SimpleNamespace] = []
        self.during: Any = None
        self.version = ""
        self.model = load_policy(asked["model"])
        untied = SimpleNamespace(config=SimpleNamespace(tie_word_embeddings=False))
        self.model_runner = SimpleNamespace(get_model=lambda: untied)
        self.llm_engine = SimpleNamespace(engine_core=SimpleNamespace(shutdown=lambda: None))

    def reload_weights(self, weights_path: str) -> None:
        tensors = load_file(Path(weights_path) / "model.safetensors")
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(tensors[name])

    def collective_rpc(self, method: str, args: tuple[Any, ...]) -> list[Any]:
        return [getattr(self, method)(*args)]

    def update_weight_version(self, version: str) -> None:
        self.version = version

    def reset_prefix_cache(self) -> bool:
        return self.forgets

    def generate(
        self, requests: Sequence[Mapping[str, Any]], parameters: Sequence[SimpleNamespace], use_tqdm: bool
    ) -> list[Any]:
        assert not use_tqdm
        self.parameters = list(parameters)
        version = [SimpleNamespace(version=self.version)]
        first = parameters[0]
        sampler = TransformersSampler(
            self.model, eos_id=EOS, pad_id=PAD, max_completion_tokens=first.max_tokens, temperature=first.temperature
        )
        rollout = sampler.sample([each["prompt_token_ids"] for each in requests], first.seed % 2**31)
        if self.during is not None:
            self.during()
        answers = []
        for tokens, row in zip(rollout.completions(), rollout.sampler_logprobs_BA.tolist(), strict=True):
            entries = [{token: SimpleNamespace(logprob=logprob)} for token, logprob in zip(tokens, row, strict=False)]
            if self.missing:
                entries[0] = {tokens[0] + 1: SimpleNamespace(logprob=-1.0)}
            output = SimpleNamespace(token_ids=tokens, logprobs=entries, weight_versions=version)
            answers.append(SimpleNamespace(outputs=[output]))
        return answers


def stand_in() -> ModuleType:
    """A module in place of ``vllm``."""
    module = ModuleType("vllm")
    vars(module).update(LLM=Engine, SamplingParams=lambda **given: SimpleNamespace(**given), TokensPrompt=dict)
    return module
