"""The paper's findings as claims about our figures: each an estimate, a threshold, and the verdict of its interval.

Knows which figures speak to which claim; does not know how they are shown.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final, Literal, NamedTuple

from benchmarks.paper import published
from benchmarks.paper.summary import (
    BySeed,
    Estimate,
    Results,
    Row,
    estimate,
    minus,
    most_gain,
    ratio,
    value_at_gain,
)

Verdict = Literal["holds", "does not hold", "undecided", "not measured"]
Unit = Literal["%", "points", "times", "reward", "gold", "nats"]
FOLDS: Final = tuple(f"reward-fold-{number}" for number in range(5))


@dataclass(frozen=True)
class Claim:
    """One sentence that is true when a figure is above (or below) a threshold.

    Attributes:
        says: the sentence.
        printed: the paper's figures, empty where it prints none.
        measured: ours, None where an arm is missing.
        op: on which side of the threshold the figure should be.
        threshold: in the figure's unit, shares as shares.
        unit: how it is shown.
    """

    says: str
    printed: tuple[published.Printed, ...]
    measured: Estimate | None
    op: Literal[">", "<"]
    threshold: float
    unit: Unit = "%"

    @property
    def verdict(self) -> Verdict:
        """Whether the whole interval is on the claim's side, or all of it on the other."""
        if self.measured is None:
            return "not measured"
        low, high = self.measured.low - self.threshold, self.measured.high - self.threshold
        if math.isnan(low) or low <= 0 <= high:
            return "undecided"
        return "holds" if (low > 0) == (self.op == ">") else "does not hold"


class Tax(NamedTuple):
    """Relative change of the loss on pretraining text, by seed, where two runs had gained the same reward."""

    gain: BySeed
    ptx: BySeed
    other: BySeed


def preference(results: Results) -> list[Claim]:
    """Who is preferred to whom (section 4.1), under the gold taste."""
    over, against_sft = published.PREFERENCE, published.AGAINST_SFT
    return [
        Claim("PPO-ptx is preferred to the base", (over["base"],), results.win_rate("ppo-ptx", "base"), ">", 0.5),
        Claim("PPO-ptx is preferred to the base with a few-shot prefix", (over["base-few-shot"],),
              results.win_rate("ppo-ptx", "base-few-shot"), ">", 0.5),
        Claim("a few-shot prefix makes the base better", (over["base"], over["base-few-shot"]),
              results.win_rate("base-few-shot", "base"), ">", 0.5),
        Claim("PPO-ptx is preferred to the base fine-tuned on public tasks", (over["flan"], over["t0"]),
              results.win_rate("ppo-ptx", "tasks"), ">", 0.5),
        Claim("the base fine-tuned on public tasks loses to SFT", (against_sft["t0"], against_sft["flan"]),
              results.win_rate("tasks", "sft"), "<", 0.5),
        Claim("PPO-ptx is preferred to SFT, by 60 % at least", (against_sft["ppo-ptx"],),
              results.win_rate("ppo-ptx", "sft"), ">", 0.6),
    ]  # fmt: skip


def truth(results: Results) -> list[Claim]:
    """Invented answers and rudeness (sections 4.2 and 1)."""

    def quotient(name: str, one: str = "ppo-ptx", other: str = "base") -> Estimate | None:
        return estimate(ratio(results.figure(one, name), results.figure(other, name)))

    respectful, refuses = "rude_respectful_rate", "not_stated_rate"
    more = minus(results.figure("ppo-ptx", refuses), results.figure("base", refuses))
    return [
        Claim("PPO-ptx invents half as often as the base, or less", published.HALLUCINATION,
              quotient("hallucination_rate"), "<", 0.5, "times"),
        Claim("it does so without calling 10 points more of the stated facts not stated", (), estimate(more), "<", 0.1,
              "points"),
        Claim("told to be respectful, PPO-ptx is rude less often than the base", published.TOXICITY,
              quotient(respectful), "<", 1.0, "times"),
    ]  # fmt: skip


def generalisation(results: Results) -> list[Claim]:
    """Whether reward models predict labelers that they never saw (section 4.1, E.2)."""
    says = "held-out labelers are predicted within 3 points of a model's own"
    apart = minus(folds(results, "own_accuracy"), folds(results, "other_accuracy"))
    return [Claim(says, published.GENERALISATION, estimate(apart), "<", 0.03, "points")]


def folds(results: Results, name: str) -> BySeed:
    """A figure's mean over the five folds, of the seeds that have all of them."""
    each = [results.figure(fold, name) for fold in FOLDS]
    return {seed: fmean(fold[seed] for fold in each) for seed in each[0] if all(seed in fold for fold in each)}


def kwise(results: Results) -> list[Claim]:
    """One element a prompt against shuffled pairs (section 3.5, footnote 5), after one epoch as in the paper."""
    gap = {arm: minus(epoch(results, arm, "held_out_loss"), epoch(results, arm, "train_loss")) for arm in _REWARDS}
    loss = minus(*(epoch(results, arm, "held_out_loss") for arm in reversed(_REWARDS)))
    return [
        Claim("after one epoch shuffled pairs have the larger gap of held-out to training loss", published.KWISE,
              estimate(minus(gap["reward-pairs"], gap["reward"])), ">", 0.0, "nats"),
        Claim("after one epoch shuffled pairs have the higher held-out loss", published.KWISE,
              estimate(loss), ">", 0.0, "nats"),
    ]  # fmt: skip


def epoch(results: Results, arm: str, name: str, number: int = 1) -> BySeed:
    """A figure after so many epochs."""
    rows = results.rows(arm, "epochs")
    return {seed: row[name] for seed, each in rows.items() for row in each if row["epoch"] == number}


def tax(results: Results) -> list[Claim]:
    """The alignment tax (section 4.2, E.6): what optimisation for people costs on text and tasks."""
    plain, large = at_equal_gain(results, "ppo"), at_equal_gain(results, "ppo-large-kl")
    accuracy = {arm: results.figure(arm, "task_accuracy") for arm in ("base", "ppo", "ppo-ptx")}
    return [
        Claim("with ptx the loss on pretraining text stays within 2 % of its start", published.PTX,
              estimate(change(results, "ppo-ptx")), "<", 0.02),
        Claim("without ptx it rises by 10 % or more, at the same gain of reward", (), estimate(plain.other), ">", 0.10),
        Claim("a larger KL coefficient loses more than ptx, at the same gain of reward", published.LARGE_KL,
              estimate(minus(large.other, large.ptx)), ">", 0.0),
        Claim("plain PPO is worse at the public tasks than the base", published.TASKS,
              estimate(minus(accuracy["ppo"], accuracy["base"])), "<", 0.0, "points"),
        Claim("ptx makes it better at them", published.TASKS,
              estimate(minus(accuracy["ppo-ptx"], accuracy["ppo"])), ">", 0.0, "points"),
    ]  # fmt: skip


def change(results: Results, arm: str) -> BySeed:
    """Relative change of the loss on pretraining text from the start of PPO to its end."""
    rows = results.rows(arm, "points")
    return {seed: each[-1]["pretraining_loss"] / each[0]["pretraining_loss"] - 1 for seed, each in rows.items()}


def at_equal_gain(results: Results, other: str) -> Tax:
    """The loss of PPO-ptx and of another run where each had first gained the same reward.

    The gain is PPO-ptx's at its end, or the most that the other run ever gained where that is less.
    """
    ours, theirs = results.rows("ppo-ptx", "points"), results.rows(other, "points")
    found = Tax({}, {}, {})
    for seed in ours:
        if seed in theirs:
            gain = min(ours[seed][-1]["reward"] - ours[seed][0]["reward"], most_gain(theirs[seed], "reward"))
            found.gain[seed] = gain
            for rows, kept in ((ours[seed], found.ptx), (theirs[seed], found.other)):
                loss = value_at_gain(rows, "reward", gain, "pretraining_loss")
                assert loss is not None, "both runs gained as much"
                kept[seed] = loss / rows[0]["pretraining_loss"] - 1
    return found


def over_optimisation(results: Results) -> list[Claim]:
    """A long run without a KL price: does the reward model's score rise on while the gold score falls?"""
    rise = {seed: late_change(rows, "reward") for seed, rows in results.rows("ppo-long", "points").items()}
    fall = {seed: late_change(rows, "gold") for seed, rows in results.rows("ppo-long", "points").items()}
    return [
        Claim("late in a long run the reward model's score still rises", (), estimate(rise), ">", 0.0, "reward"),
        Claim("while the gold score falls", (), estimate(fall), "<", 0.0, "gold"),
    ]  # fmt: skip


def late_change(rows: Sequence[Row], column: str) -> float:
    """Mean of the last quarter of a run minus that of its second quarter."""
    values = [row[column] for row in rows]
    quarter = max(1, len(values) // 4)
    return fmean(values[-quarter:]) - fmean(values[quarter : 2 * quarter])


FINDINGS: Final[dict[str, Callable[[Results], list[Claim]]]] = {
    "preference": preference,
    "truth": truth,
    "generalisation": generalisation,
    "kwise": kwise,
    "tax": tax,
    "over_optimisation": over_optimisation,
}
"""By name, in the order of the page."""
_REWARDS: Final = ("reward", "reward-pairs")
