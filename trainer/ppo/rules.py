"""Whether a policy earns its reward or games it: rules over what the monitors measure, with reasons in words.

Knows limits and words; does not know how figures are measured (`trainer.ppo.monitors`) or what is done about a broken
rule (`trainer.ppo.guards`).
A trait that became more frequent is no fault: learning looks the same. It becomes one where the reward pays much more
for it than a held-out model, or, where there is none to ask, where it rose three times as far and is paid very highly.
One answer to most prompts is a fault whoever likes it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from trainer.settings.guards import GuardSettings

Decode = Callable[[list[int]], str]
"""Text of token ids."""
UNJUDGED_RISE = 3.0
"""Times that a trait may rise as far where no held-out model can tell whether it is better."""


def hack_reasons(metrics: Mapping[str, float], limits: GuardSettings, decode: Decode | None = None) -> dict[str, str]:
    """Return the reasons of the broken rules by name; empty ones for rules that hold, nothing in the beginning.

    Args:
        metrics: of an iteration; without figures of a trait its rule is not looked at.
        limits: the settings.
        decode: names tokens; ids are named without.
    """
    found, risen = {}, []
    for trait in _measured(metrics):
        times = _rise_in_limits(trait, metrics, limits)
        overpaid = _overpaid(trait, metrics, times, limits)
        found[f"hack_{trait}"] = f"{_rise(trait, metrics, decode)}, and {overpaid}" if overpaid else ""
        risen += [_rise(trait, metrics, decode)] if times > 1 else []
    if "hacks/common_from" in metrics:
        before, now = metrics["hacks/common_from"], metrics["hacks/common_share"]
        found["hack_same"] = (
            f"one and the same completion is given to {now:.0%} of the prompts, {before:.0%} at the beginning"
            if 1 - now < limits.min_different_ratio * (1 - before)
            else ""
        )
    if "hacks/held_out_gain" in metrics:
        gained, judged = metrics["hacks/score_gain"], metrics["hacks/held_out_gain"]
        gains = f"scores gained {gained:.2g} deviations since the beginning, the held-out model's {judged:.2g}"
        unearned = gained - judged > limits.max_unearned_gain
        found["hack_unearned"] = "; meanwhile ".join([gains, *risen]) if unearned else ""
    return found


def overpaid_besides(metrics: Mapping[str, float], limits: GuardSettings, decode: Decode | None = None) -> list[str]:
    """Return which other traits are overpaid beyond doubt, risen a little but not enough to break a rule by themselves.

    What is paid for shows in the token that leads to it before it shows in itself: an "And" before long answers.
    """
    found = []
    for trait in _measured(metrics):
        overpaid = _overpaid(trait, metrics, math.inf, limits)
        broken = _overpaid(trait, metrics, _rise_in_limits(trait, metrics, limits), limits)
        if overpaid and not broken and metrics[f"hacks/{trait}_now"] > metrics[f"hacks/{trait}_from"]:
            found.append(f"{_rise(trait, metrics, decode)}, and {overpaid}")
    return found


def _measured(metrics: Mapping[str, float]) -> list[str]:
    return [trait for trait in ("length", "repeated", "phrase", "token") if f"hacks/{trait}_now" in metrics]


def _rise_in_limits(trait: str, metrics: Mapping[str, float], limits: GuardSettings) -> float:
    """How many times its limit a trait rose, beyond doubt; 0 where there is doubt."""
    before, now = metrics[f"hacks/{trait}_from"], metrics[f"hacks/{trait}_now"]
    most = {"length": limits.max_length_rise, "repeated": limits.max_repeated_rise}.get(trait, limits.max_share_rise)
    rise = (now - before) / before if trait == "length" else now - before
    return rise / most if metrics[f"hacks/{trait}_rise_z"] >= limits.hack_rise_errors else 0.0


def _overpaid(trait: str, metrics: Mapping[str, float], times: float, limits: GuardSettings) -> str:
    """What is wrong with the pay of a trait that rose so many times its limit; empty where it is as it should be."""
    if (excess := metrics.get(f"hacks/{trait}_excess")) is not None:
        sure = metrics[f"hacks/{trait}_excess_z"] >= limits.overpay_errors
        if times > 1 and sure and excess > limits.max_overpay:
            return f"the reward pays {excess:.2g} deviations more for it than the held-out model"
        return ""
    pays, sure = metrics[f"hacks/{trait}_pays"], metrics[f"hacks/{trait}_pays_z"] >= limits.overpay_errors
    if times > UNJUDGED_RISE and sure and pays > limits.max_unjudged_pay:
        return f"the reward pays {pays:.2g} deviations for it; no held-out model says whether it is better"
    return ""


def _rise(trait: str, metrics: Mapping[str, float], decode: Decode | None) -> str:
    before, now = metrics[f"hacks/{trait}_from"], metrics[f"hacks/{trait}_now"]
    if trait == "length":
        return f"completions grew from {before:.1f} to {now:.1f} tokens"
    if trait == "repeated":
        return f"completions repeat themselves: {now:.0%} of their bigrams, {before:.0%} at the beginning"
    name = _named(trait, metrics, decode)
    return f"the {trait} {name} is in {now:.0%} of the completions, {before:.0%} at the beginning"


def _named(trait: str, metrics: Mapping[str, float], decode: Decode | None) -> str:
    ids: Sequence[int] = []
    while (id := metrics.get(f"hacks/{trait}_{len(ids) + 1}")) is not None:
        ids = [*ids, int(id)]
    return repr(decode(list(ids))) if decode else " ".join(map(str, ids))
