"""When to stop a PPO run: rules over the metrics of its iterations.

Knows thresholds and reasons; does not know checkpoints or what is done about a stop. A rule that compares with the
beginning uses the first iteration's figures, because healthy values differ from model to model. Steps that were skipped
because a number was none have rules of their own (`trainer.running.bad_steps`), and so have policies that game their
reward (`trainer.ppo.rules`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from trainer.ppo.rules import Decode, hack_reasons, overpaid_besides
from trainer.settings.guards import BUDGET_STOP, GuardSettings

_NOT_NOTHING = 0.1
"""EOS rate at the start from which on a rate of 0 is a fall to nothing, and not chance."""
_ERRORS = 2.0
"""Standard errors by which a single measurement is over its limit beyond doubt: small batches measure roughly."""


def surely_over(metrics: Mapping[str, float], limit_nats: float) -> bool:
    """Whether the mean KL of an iteration's episodes is over a limit by two of its standard errors."""
    return metrics["objective/kl"] - _ERRORS * metrics.get("objective/kl_error", 0.0) > limit_nats


class Guards:
    """Watches one run.

    Args:
        settings: the limits.
        decode: text of token ids, for reasons that name tokens.
    """

    def __init__(self, settings: GuardSettings, decode: Decode | None = None) -> None:
        self._settings = settings
        self._decode = decode
        self._first: dict[str, float] = {}
        self._broken: dict[str, int] = {}
        self._sick: dict[str, float] = {}
        self._latest = 0

    def check(self, metrics: Mapping[str, float], iteration: int = 0) -> str | None:
        """The reason to stop after this iteration, or None.

        Args:
            metrics: the iteration's figures by their published names; a rule without its figure is not looked at,
                every other number is only checked for being finite.
            iteration: iterations done before this one, which measured the weights of the checkpoint of that number.
        """
        for name, value in metrics.items():
            if not math.isfinite(value):
                return f"{name} is {value}"
        if not self._first:
            self._first = dict(metrics)
        verdict = None
        reasons = self._rules(metrics)
        for rule, reason in reasons.items():
            self._broken[rule] = self._broken.get(rule, 0) + 1 if reason else 0
            # What is spent is spent: over the budget beyond doubt, the run waits for no second iteration.
            at_once = rule == "budget" and surely_over(metrics, BUDGET_STOP * self._settings.kl_budget_nats)
            patience = 1 if at_once else self._settings.guard_patience
            if reason and self._broken[rule] >= patience and verdict is None:
                row = f", {self._broken[rule]} iterations in a row" if patience > 1 else ""
                others = [other for name, other in reasons.items() if other and name != rule]
                if rule.startswith("hack_"):
                    others += overpaid_besides(metrics, self._settings, self._decode)
                verdict = "; also ".join([reason + row, *others])
        self._latest = iteration
        if self.broken_for:
            self._sick[str(iteration)] = float(self.broken_for)
        return verdict

    def measured_sick(self, iteration: int) -> bool:
        """Whether some rule was broken by the weights that this many iterations had made."""
        return str(iteration) in self._sick

    @property
    def healthy(self) -> bool:
        """True when no rule was broken in the last ``guard_patience`` iterations: only then is a checkpoint a good one.

        So the one before it is good by its own measurement, even where the figures flicker around a limit.
        """
        patience = self._settings.guard_patience
        return self._latest - max(map(int, self._sick), default=-patience) >= patience

    @property
    def broken_for(self) -> int:
        """Iterations in a row, the last one included, in which some rule was broken."""
        return max(self._broken.values(), default=0)

    def alarms(self) -> dict[str, float]:
        """Metrics ``guards/broken``, the rules broken in the last iteration, and ``guards/RULE``, for how many each."""
        broken = {f"guards/{rule}": float(count) for rule, count in self._broken.items()}
        return {"guards/broken": float(sum(count > 0 for count in self._broken.values()))} | broken

    def state_dict(self) -> dict[str, dict[str, float]]:
        """What a resumed run needs to go on watching."""
        broken = {rule: float(count) for rule, count in self._broken.items()}
        return {
            "first": dict(self._first),
            "broken": broken,
            "sick": dict(self._sick) | {"latest": float(self._latest)},
        }

    def load_state_dict(self, state: Mapping[str, Mapping[str, float]]) -> None:
        """Go on from a saved state."""
        self._first = dict(state["first"])
        self._broken = {k: int(v) for k, v in state["broken"].items()}
        self._sick = {k: v for k, v in state["sick"].items() if k != "latest"}
        self._latest = int(state["sick"]["latest"])

    def _rules(self, metrics: Mapping[str, float]) -> dict[str, str]:
        """The broken rules' reasons; empty strings for those that hold."""
        hacks = hack_reasons(metrics, self._settings, self._decode)
        return self._of_policy(metrics) | hacks | self._of_rewards(metrics) | self._of_sampler(metrics)

    def _of_policy(self, metrics: Mapping[str, float]) -> dict[str, str]:
        """Rules on KL, lengths and entropy."""
        limits, first = self._settings, self._first
        kl, eos, entropy = (metrics[k] for k in ("objective/kl", "episode/eos_rate", "ppo/policy/entropy_avg"))
        empty = metrics.get("episode/empty_rate", 0.0)
        floor = limits.min_entropy_ratio * first["ppo/policy/entropy_avg"]
        start = first["episode/eos_rate"]
        most = BUDGET_STOP * limits.kl_budget_nats or math.inf
        return {
            "kl": f"KL {kl:.3g} nats an episode is over its limit of {limits.max_kl_nats:g}"
            if kl > limits.max_kl_nats
            else "",
            "budget": f"KL {kl:.3g} nats an episode is over {BUDGET_STOP:g} times the budget of {most / BUDGET_STOP:g}"
            if kl > most
            else "",
            "eos": f"EOS rate fell from {start:.3g} to {eos:.3g}: completions run into the length cap"
            if start - eos > limits.max_eos_drop or (eos == 0 and start >= _NOT_NOTHING)
            else "",
            "empty": f"{empty:.0%} of the completions are empty: the policy stops at once"
            if empty > limits.max_empty_share
            else "",
            "entropy": f"entropy {entropy:.3g} nats a token is under {floor:.3g}: the policy has collapsed"
            if entropy < floor
            else "",
        }

    def _of_rewards(self, metrics: Mapping[str, float]) -> dict[str, str]:
        """Rules on scores, advantages and the held-out reward model."""
        limits = self._settings
        rules = {}
        for rule, name in (("scores", "objective/scores_std"), ("advantages", "ppo/advantages_std")):
            std = metrics.get(name, math.inf)
            rules[rule] = f"{rule} do not vary (deviation {std:.3g})" if std <= limits.min_scores_std else ""
        fall = metrics.get("objective/held_out_fall", 0.0)
        rules["held_out"] = (
            f"the held-out reward model's score lost {fall:.0%} of what it had gained: over-optimisation"
            if fall > limits.max_held_out_fall
            else ""
        )
        return rules

    def _of_sampler(self, metrics: Mapping[str, float]) -> dict[str, str]:
        """Rules on the difference between sampler's and trainer's log-probabilities."""
        limits = self._settings
        gap, ess = metrics.get("sampler/gap_mean", 0.0), metrics.get("sampler/ess", 1.0)
        return {
            "gap": f"sampler and trainer differ by {gap:.3g} nats a token, limit {limits.max_sampler_gap:g}"
            if gap > limits.max_sampler_gap
            else "",
            "ess": f"sampler and trainer differ: an effective share of {ess:.4g} of the tokens is under its floor of "
            f"{limits.min_sampler_ess:g}"
            if ess < limits.min_sampler_ess
            else "",
        }
