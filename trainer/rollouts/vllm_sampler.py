"""Sampling with a vLLM engine that this process starts.

Weights are pushed before every iteration, on a CPU through shared memory, on a GPU by vLLM's own transfer; either way
they are verified by a fingerprint per tensor, the prefix cache is cleared, which is checked, and the engine says which
version every token came from. Knows vLLM 0.32's calls; does not know rewards, training or how weights travel
(`trainer.rollouts.weight_transfer`).

Dimension letters: B episodes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from feedback.errors import EngineError, StageFailed
from trainer.maths.fingerprints import fingerprint
from trainer.models.adapters import merged
from trainer.rollouts.rollout import Rollout, pack_rollout, require_distinct_pad, require_one_version
from trainer.rollouts.weight_transfer import (
    Native,
    SharedMemory,
    WeightTransfer,
    own_directory,
    prepare_native,
)

_SHARED_MEMORY = Path("/dev/shm")
_WORKER = "trainer.rollouts.engine_worker.PolicyReload"
_JUST_THE_CACHE = 0.01
"""Share of a GPU that vLLM asks to find free; what it takes is its weights and the cache, whose size is given."""


class VllmSampler:
    """Samples from an engine that holds its own copy of the policy.

    Args:
        policy: whose weights the engine starts with.
        tokenizer: gives EOS and padding.
        max_prompt_tokens: longest prompt that will come.
        max_completion_tokens: length cap.
        temperature: of the logits; positive.
        cache_gib: memory of the KV cache.
        dtype: the engine computes in; the policy's by default.
        native: push weights by vLLM's own transfer; by default where the policy lies on a GPU.

    Raises:
        EngineError: the engine did not start.
    """

    def __init__(
        self,
        policy: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_prompt_tokens: int,
        max_completion_tokens: int,
        temperature: float,
        cache_gib: float = 1.0,
        dtype: torch.dtype | None = None,
        native: bool | None = None,
    ) -> None:
        self._eos_id, self._pad_id = int(tokenizer.eos_token_id), int(tokenizer.pad_token_id)
        require_distinct_pad(self._pad_id, self._eos_id)
        self._temperature = temperature
        self._max_completion_tokens = max_completion_tokens
        self._version = 0
        self._directory, self._held = own_directory(_SHARED_MEMORY if _SHARED_MEMORY.is_dir() else None)
        merged(policy).save_pretrained(self._directory)
        longest = min(max_prompt_tokens + max_completion_tokens, int(policy.config.max_position_embeddings))
        native = policy.device.type == "cuda" if native is None else native
        try:
            options = prepare_native() if native else {}
            self._engine = _start_engine(self._directory, longest, cache_gib, dtype or policy.dtype, **options)
            self._engine.collective_rpc("end_with", args=(os.getpid(),))
            self._engine.update_weight_version(str(self._version))
            if native:  # these files are memory, and no push writes them again
                for loaded in self._directory.glob("*.safetensors"):
                    loaded.unlink()
        except Exception as error:
            shutil.rmtree(self._directory, ignore_errors=True)
            raise EngineError(f"vLLM did not start for rollouts: {error}") from error
        self._transfer: WeightTransfer = Native(self._engine) if native else SharedMemory(self._engine, self._directory)

    def push(self, policy: PreTrainedModel, version: int) -> None:
        """Replace the engine's weights by the policy's present ones, its adapters merged.

        Raises:
            StageFailed: the weights did not arrive whole, or the prefix cache could not be cleared.
        """
        model = merged(policy)
        digests = {name: fingerprint(parameter) for name, parameter in model.named_parameters()}
        try:
            read = self._transfer.send(model, digests)
        except Exception as error:
            raise StageFailed(f"pushing weights of iteration {version} to vLLM failed: {error}") from error
        if any(count != len(digests) for count in read):
            raise StageFailed(f"vLLM read {read} tensors of {len(digests)} pushed for iteration {version}")
        if not self._engine.reset_prefix_cache():
            raise StageFailed("vLLM did not clear its prefix cache; answers would come from old weights")
        self._engine.update_weight_version(str(version))
        self._version = version

    def sample(self, prompts: Sequence[Sequence[int]], seed: int, rows: Sequence[int] | None = None) -> Rollout:
        """One completion of each prompt; see ``Sampler``."""
        from vllm import SamplingParams, TokensPrompt

        version, chosen = self._version, range(len(prompts)) if rows is None else rows
        parameters = [
            SamplingParams(
                temperature=self._temperature,
                max_tokens=self._max_completion_tokens,
                logprobs=0,
                detokenize=False,
                seed=(seed * 1_000_003 + row) % 2**63,
                stop_token_ids=[self._eos_id],
                ignore_eos=False,
            )
            for row in chosen
        ]
        prompts = [prompts[row] for row in chosen]
        requests = [TokensPrompt(prompt_token_ids=list(prompt)) for prompt in prompts]
        outputs = [answer.outputs[0] for answer in self._engine.generate(requests, parameters, use_tqdm=False)]
        _require_version({span.version for output in outputs for span in output.weight_versions or ()}, version)
        return pack_rollout(
            prompts,
            [list(output.token_ids) for output in outputs],
            [_sampled_logprobs(output.token_ids, output.logprobs) for output in outputs],
            eos_id=self._eos_id,
            pad_id=self._pad_id,
            policy_version=require_one_version(version, self._version),
        )

    def close(self) -> None:
        """Stop the engine and remove the pushed weights."""
        self._engine.llm_engine.engine_core.shutdown()
        shutil.rmtree(self._directory, ignore_errors=True)
        os.close(self._held)


def _sampled_logprobs(tokens: Sequence[int], entries: Sequence[Mapping[int, Any]] | None) -> list[float]:
    """The log-probability of every sampled token, in nats.

    Raises:
        StageFailed: one is missing; 0 in its place would be a wrong ratio that nobody sees.
    """
    if entries is None or len(entries) != len(tokens):
        raise StageFailed(f"vLLM gave {len(entries or [])} log-probabilities for {len(tokens)} tokens")
    found: list[float] = []
    for position, (token, entry) in enumerate(zip(tokens, entries, strict=True)):
        if token not in entry:
            raise StageFailed(f"vLLM gave no log-probability for sampled token {token} at position {position}")
        found.append(float(entry[token].logprob))
    return found


def _require_version(said: set[str], version: int) -> None:
    """Check that the engine says of every token that it came from this version.

    Raises:
        StageFailed: it names another one.
    """
    if said != {str(version)}:
        raise StageFailed(f"vLLM answered with version {', '.join(sorted(said))}, pushed was {version}")


def _start_engine(directory: Path, longest: int, cache_gib: float, dtype: torch.dtype, **options: Any) -> Any:
    """A synchronous engine whose log-probabilities are those of the distribution sampled from."""
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", str(max(1, round(cache_gib))))
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    if torch.distributed.is_initialized():
        # An engine in this process, or in a fork of it, would take itself for one of the run and wait for the rest.
        os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "1", "VLLM_WORKER_MULTIPROC_METHOD": "spawn"}
    from vllm import LLM

    if torch.cuda.is_available():  # beside the trainer's models, so neither all of the GPU nor what is left of it
        options |= {"kv_cache_memory_bytes": int(cache_gib * 2**30), "gpu_memory_utilization": _JUST_THE_CACHE}
    return LLM(
        model=str(directory),
        skip_tokenizer_init=True,
        dtype=str(dtype).removeprefix("torch."),
        max_model_len=longest,
        enforce_eager=not torch.cuda.is_available(),  # compiling costs a CPU more than it gives
        logprobs_mode="processed_logprobs",
        generation_config="vllm",
        worker_extension_cls=_WORKER,
        disable_log_stats=True,
        use_tqdm_on_load=False,
        **options,
    )
