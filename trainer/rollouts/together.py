"""Sampling by several processes: each completes its share of the prompts, or one all; all hold every completion.

Knows samplers and processes; does not know how tokens are drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from transformers import PreTrainedModel

from feedback.errors import StageFailed
from trainer.rollouts.rollout import Rollout, Sampler, pack_rollout
from trainer.running.distributed import World
from trainer.running.sharding import pull


class MainSampler:
    """A sampler that the main process has and all are answered by: one engine for a run of several processes.

    Every call must be made by every process.

    Args:
        start: makes the sampler; called in the main process only.
        world: who asks.
    """

    def __init__(self, start: Callable[[], Sampler], world: World) -> None:
        self._sampler, self._world = start() if world.main else None, world

    def sample(self, prompts: Sequence[Sequence[int]], seed: int, rows: Sequence[int] | None = None) -> Rollout:
        """The main process's completions, on the CPU; see ``Sampler``."""
        drawn = self._sampler.sample(prompts, seed, rows) if self._sampler else None
        rollout: Rollout = self._world.broadcast_object(drawn)
        return rollout

    def push(self, policy: PreTrainedModel, version: int) -> None:
        """Gather the policy, if it is shared out over processes, and give it to the sampler."""
        whole = pull(policy)
        if self._sampler:
            self._sampler.push(whole, version)

    def close(self) -> None:
        """Free what the sampler holds."""
        if self._sampler:
            self._sampler.close()


def sample_together(
    sampler: Sampler, prompts: Sequence[Sequence[int]], seed: int, world: World, *, eos_id: int, pad_id: int
) -> Rollout:
    """One completion of each prompt, the same rollout in each process and with any number of them.

    Completions are a few bytes a token where models are gigabytes, so every process gets them all: rewards,
    whitening and metrics of the whole batch then need no further sums.

    Args:
        sampler: this process's, holding the same weights as all others.
        prompts: of the whole batch.
        seed: of the whole batch.
        world: who shares them out.
        eos_id: token that ends a completion.
        pad_id: fills rows up.

    Raises:
        StageFailed: the samplers answered with different weights.
    """
    if world.size == 1 or isinstance(sampler, MainSampler):
        return sampler.sample(prompts, seed)
    mine = list(range(len(prompts)))[world.rank :: world.size]
    parts = world.gather_objects(_plain(sampler.sample(prompts, seed, mine)) if mine else None)
    versions = {part[0] for part in parts if part}
    if len(versions) > 1:
        raise StageFailed(f"processes sampled from different versions of the policy: {sorted(versions)}")
    found = [(parts[row % world.size], row // world.size) for row in range(len(prompts))]
    return pack_rollout(
        prompts,
        [part[1][place] for part, place in found],
        [part[2][place] for part, place in found],
        eos_id=eos_id,
        pad_id=pad_id,
        policy_version=versions.pop(),
    )


def _plain(rollout: Rollout) -> tuple[int, list[list[int]], list[list[float]]]:
    """Version, completions and the sampler's log-probabilities as lists."""
    logprobs = zip(rollout.sampler_logprobs_BA.tolist(), rollout.completion_tokens_B.tolist(), strict=True)
    return rollout.policy_version, rollout.completions(), [row[:tokens] for row, tokens in logprobs]
