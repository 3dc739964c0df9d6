"""Sampling with a vLLM engine in this process; the only module of the trainer that imports vLLM.

Weights are pushed before every iteration: written to shared memory, loaded in place by the engine's worker, verified
by a checksum per tensor, and the prefix cache is cleared, which is checked. Knows vLLM 0.32's calls; does not know
rewards or training.

On a CPU vLLM keeps a prepacked copy of every linear layer, and a reload repacks only layers that have tensors of
their own in the file. A vocabulary head tied to the embeddings has none and would go on answering with the old
weights, so the worker repacks it (see ``PolicyReload``).

Dimension letters: B episodes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import select
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from feedback.errors import EngineError, StageFailed
from trainer.models.adapters import merged
from trainer.rollouts.rollout import Rollout, pack_rollout, require_distinct_pad, require_one_version

_SHARED_MEMORY = Path("/dev/shm")
_WEIGHTS = "model.safetensors"
_PUSHES = "whetstone-push-"
_SETTLED_S = 60.0


class PolicyReload:
    """Methods added to vLLM's worker (``worker_extension_cls``); ``self`` is the worker."""

    device: torch.device
    model_runner: Any
    reload_weights: Any

    def policy_reload(self, directory: str, digests: dict[str, str]) -> int:
        """Load the weights in ``directory`` in place; return how many tensors were read.

        Raises:
            ValueError: a tensor's bytes are not those that were written; nothing is loaded then.
        """
        found = tensor_digests(Path(directory) / _WEIGHTS)
        if found != digests:
            odd = sorted(k for k in found.keys() | digests.keys() if found.get(k) != digests.get(k))
            raise ValueError(f"pushed weights were damaged on the way: {odd[0]} and {len(odd) - 1} more")
        self.reload_weights(weights_path=directory)
        model = self.model_runner.get_model()
        if self.device.type == "cpu" and getattr(model.config, "tie_word_embeddings", False):
            model.lm_head.quant_method.process_weights_after_loading(model.lm_head)
        return len(found)

    def end_with(self, trainer: int) -> None:
        """End this engine's processes when the trainer's is gone; killed, it cannot do so itself.

        Args:
            trainer: process id.
        """
        if hasattr(os, "pidfd_open"):
            threading.Thread(target=_end_with, args=(os.pidfd_open(trainer), trainer), daemon=True).start()


def _end_with(handle: int, trainer: int) -> None:
    """Wait for the trainer to end; then kill the engine's own process, if there is one, and this worker's."""
    select.select([handle], [], [])
    if os.getppid() not in (1, trainer):
        os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


class VllmSampler:
    """Samples from an engine that holds its own copy of the policy.

    Args:
        policy: whose weights the engine starts with.
        tokenizer: gives EOS and padding.
        max_prompt_tokens: longest prompt that will come.
        max_completion_tokens: length cap.
        temperature: of the logits; positive.
        cache_gib: memory of the KV cache, on CPU.

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
    ) -> None:
        self._eos_id, self._pad_id = int(tokenizer.eos_token_id), int(tokenizer.pad_token_id)
        require_distinct_pad(self._pad_id, self._eos_id)
        self._temperature = temperature
        self._max_completion_tokens = max_completion_tokens
        self._version = 0
        self._directory, self._held = own_directory(_SHARED_MEMORY if _SHARED_MEMORY.is_dir() else None)
        merged(policy).save_pretrained(self._directory)
        longest = min(max_prompt_tokens + max_completion_tokens, int(policy.config.max_position_embeddings))
        try:
            self._engine = _start_engine(self._directory, longest, cache_gib, policy)
            self._engine.collective_rpc("end_with", args=(os.getpid(),))
        except Exception as error:
            shutil.rmtree(self._directory, ignore_errors=True)
            raise EngineError(f"vLLM did not start for rollouts: {error}") from error

    def push(self, policy: PreTrainedModel, version: int) -> None:
        """Replace the engine's weights by the policy's present ones, its adapters merged.

        Raises:
            StageFailed: the weights did not arrive whole, or the prefix cache could not be cleared.
        """
        tensors = {name: p.detach().cpu().contiguous() for name, p in merged(policy).named_parameters()}
        save_file(tensors, self._directory / _WEIGHTS, metadata={"format": "pt"})
        digests = {name: _digest(tensor) for name, tensor in tensors.items()}
        try:
            read = self._engine.collective_rpc("policy_reload", args=(str(self._directory), digests))
        except Exception as error:
            raise StageFailed(f"pushing weights of iteration {version} to vLLM failed: {error}") from error
        if any(count != len(tensors) for count in read):
            raise StageFailed(f"vLLM read {read} tensors of {len(tensors)} pushed for iteration {version}")
        if not self._engine.reset_prefix_cache():
            raise StageFailed("vLLM did not clear its prefix cache; answers would come from old weights")
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


def own_directory(parent: Path | None = None) -> tuple[Path, int]:
    """Make a directory for pushed weights, and remove those that killed processes left: they are memory.

    Args:
        parent: where; the system's place for temporary files by default.

    Returns:
        The directory, and a descriptor whose lock says, for as long as this process lives, that somebody needs it.
    """
    place = parent or Path(tempfile.gettempdir())
    for left in place.glob(_PUSHES + "*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _SETTLED_S:  # its maker has had the time to lock it
                held = _lock(left)
                shutil.rmtree(left, ignore_errors=True)
                os.close(held)
    made = Path(tempfile.mkdtemp(prefix=_PUSHES, dir=place))
    return made, _lock(made)


def _lock(directory: Path) -> int:
    """Return a descriptor that holds the directory; an OSError says that another process does."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def tensor_digests(path: Path) -> dict[str, str]:
    """A digest of every tensor's bytes in a safetensors file, by name."""
    with safe_open(str(path), framework="pt") as file:
        return {name: _digest(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118 - not a mapping


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


def _start_engine(directory: Path, longest: int, cache_gib: float, policy: PreTrainedModel) -> Any:
    """A synchronous engine in eager mode whose log-probabilities are those of the distribution sampled from."""
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", str(max(1, round(cache_gib))))
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    from vllm import LLM

    return LLM(
        model=str(directory),
        skip_tokenizer_init=True,
        dtype=str(policy.dtype).removeprefix("torch."),
        max_model_len=longest,
        enforce_eager=True,
        logprobs_mode="processed_logprobs",
        generation_config="vllm",
        worker_extension_cls="trainer.rollouts.vllm_sampler.PolicyReload",
        disable_log_stats=True,
        use_tqdm_on_load=False,
    )


def _digest(tensor: torch.Tensor) -> str:
    # Bytes rather than numbers: bfloat16 has no numpy type, and -0.0 equals 0.0.
    raw = tensor.detach().cpu().contiguous().view(torch.uint8) if tensor.ndim else tensor.detach().cpu().view(1)
    return hashlib.sha256(raw.numpy().tobytes()).hexdigest()
