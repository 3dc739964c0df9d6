"""When to stop a PPO run: rules over the metrics of its iterations.

Knows thresholds and reasons; does not know checkpoints or what is done about a stop. A rule that compares with the
beginning uses the first iteration's figures, because healthy values differ from model to model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from trainer.settings.ppo import GuardSettings


class Guards:
    """Watches one run.

    Args:
        settings: the limits.
    """

    def __init__(self, settings: GuardSettings) -> None:
        self._settings = settings
        self._first: dict[str, float] = {}
        self._broken: dict[str, int] = {}

    def check(self, metrics: Mapping[str, float]) -> str | None:
        """The reason to stop after this iteration, or None.

        Args:
            metrics: ``objective/kl`` (nats an episode), ``episode/eos_rate``, ``ppo/policy/entropy_avg`` (nats a
                token), ``sampler/gap_mean`` (nats); every other number is only checked for being finite.
        """
        for name, value in metrics.items():
            if not math.isfinite(value):
                return f"{name} is {value}"
        if not self._first:
            self._first = dict(metrics)
        for rule, reason in self._rules(metrics).items():
            self._broken[rule] = self._broken.get(rule, 0) + 1 if reason else 0
            if reason and self._broken[rule] >= self._settings.guard_patience:
                return f"{reason}, {self._broken[rule]} iterations in a row"
        return None

    @property
    def healthy(self) -> bool:
        """True when no rule was broken in the last iteration: only then is a checkpoint a good one."""
        return not any(self._broken.values())

    def state_dict(self) -> dict[str, dict[str, float]]:
        """What a resumed run needs to go on watching."""
        return {"first": dict(self._first), "broken": {k: float(v) for k, v in self._broken.items()}}

    def load_state_dict(self, state: Mapping[str, Mapping[str, float]]) -> None:
        """Go on from a saved state."""
        self._first = dict(state["first"])
        self._broken = {k: int(v) for k, v in state["broken"].items()}

    def _rules(self, metrics: Mapping[str, float]) -> dict[str, str]:
        """The broken rules' reasons; empty strings for those that hold."""
        limits, first = self._settings, self._first
        kl, eos, entropy = (metrics[k] for k in ("objective/kl", "episode/eos_rate", "ppo/policy/entropy_avg"))
        gap = metrics["sampler/gap_mean"]
        floor = limits.min_entropy_ratio * first["ppo/policy/entropy_avg"]
        start = first["episode/eos_rate"]
        return {
            "kl": f"KL {kl:.3g} nats an episode is over its budget of {limits.max_kl_nats:g}"
            if kl > limits.max_kl_nats
            else "",
            "eos": f"EOS rate fell from {start:.3g} to {eos:.3g}: completions run into the length cap"
            if start - eos > limits.max_eos_drop
            else "",
            "entropy": f"entropy {entropy:.3g} nats a token is under {floor:.3g}: the policy has collapsed"
            if entropy < floor
            else "",
            "gap": f"sampler and trainer differ by {gap:.3g} nats a token, limit {limits.max_sampler_gap:g}"
            if gap > limits.max_sampler_gap
            else "",
        }
