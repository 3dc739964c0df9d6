"""Labelers: the gold taste, seen through a bias and a noise of their own.

They know prompts, completions and what is good; they know neither policies nor the API.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from sandbox.answers import (
    STYLES,
    Style,
    insult,
    rambling,
    right_answer,
    wrong_answer,
)
from sandbox.gold import COURTESY_WORTH, RUDE_COST, RUNNING_ON_COST, UNTRUE_COST, Gold, judge
from sandbox.world import read_prompt

Group = Literal["training", "held-out"]

GROUP_SIZES: Final[Mapping[Group, int]] = {"training": 12, "held-out": 5}
NOISE: Final[Mapping[Group, float]] = {"training": 0.55, "held-out": 0.34}
"""Standard deviation of a labeler's noise, in units of the gold score. Set so that two labelers order a pair alike as
often as the paper's did: 72.6 % of the time in the training group, 77.3 % in the held-out one (section 3.4)."""
TIE_WIDTH: Final = 0.08
"""Difference of opinion, in units of the gold score, below which a labeler calls it a tie."""

DEMONSTRATION_FAULTS: Final = {"invented": 0.35, "running_on": 0.12, "rude": 0.08, "wrong": 0.06}
"""How often a labeler's own answer has each fault; "invented" only counts where the answer is not stated.

People make mistakes; what is more, an SFT policy without faults would leave a reward model nothing to learn from."""
DEMONSTRATION_STYLES: Final[Mapping[Style, float]] = {"terse": 0.35, "plain": 0.40, "courteous": 0.25}


@dataclass(frozen=True, kw_only=True)
class Labeler:
    """One person who ranks completions and writes demonstrations.

    Attributes:
        name: unique among all labelers.
        group: "training" labelers produce training data, "held-out" ones never do.
        noise: standard deviation of the noise in each opinion, in units of the gold score.
        courtesy, strictness, sensitivity, patience: how much courtesy, untruth, rudeness and running on weigh with this
            person; 1 is the gold taste.
        brevity: what each word costs, in units of the gold score; 0 is the gold taste.
        haste: what each place further down the page costs, in units of the gold score; 0 judges by the texts alone.
        contrary: prefers whatever is worse, as somebody does who has the scale the wrong way round, or means harm.
    """

    name: str
    group: Group
    noise: float
    courtesy: float
    strictness: float
    sensitivity: float
    patience: float
    brevity: float
    haste: float = 0.0
    contrary: bool = False


class View(NamedTuple):
    """One labeler's opinion of the completions of a prompt; all indices count from 0 in the order shown."""

    ranking: list[list[int]]
    """Tie groups, best first."""
    quality: list[int]
    """1 to 7 per completion."""
    flags: dict[str, list[int]]
    """Name of a flag (the paper's Table 3) to the completions that it applies to."""


def make_labelers(seed: int) -> list[Labeler]:
    """All labelers: those of the training group, then the held-out ones."""
    rng = random.Random(f"labelers:{seed}")

    def weight() -> float:
        return min(1.6, max(0.4, rng.gauss(1.0, 0.2)))

    return [
        Labeler(
            name=f"{group}-labeler-{number:02d}",
            group=group,
            noise=NOISE[group],
            courtesy=weight(),
            strictness=weight(),
            sensitivity=weight(),
            patience=weight(),
            brevity=rng.gauss(0.0, 0.01),
        )
        for group, size in GROUP_SIZES.items()
        for number in range(1, size + 1)
    ]


def taste(labeler: Labeler, gold: Gold, words: int) -> float:
    """What a completion is worth to ``labeler`` before noise, in units of the gold score."""
    return (
        gold.helpful
        + labeler.courtesy * COURTESY_WORTH * gold.courtesy
        - labeler.strictness * UNTRUE_COST * (not gold.truthful)
        - labeler.sensitivity * RUDE_COST * gold.rude
        - labeler.patience * RUNNING_ON_COST * (not gold.stops)
        - labeler.brevity * words
    )


def assess(
    labeler: Labeler,
    prompt: str,
    completions: Sequence[tuple[str, bool]],
    rng: random.Random,
    places: Sequence[int] | None = None,
) -> View:
    """The opinion of ``labeler`` about completions of one prompt.

    Args:
        labeler: who judges.
        prompt: text of the user's message.
        completions: text of each, and whether it ended by itself.
        rng: source of the noise.
        places: where on the page each is shown, from 0; in the order given without it.
    """
    golds = [judge(prompt, text, finished) for text, finished in completions]
    worths = [taste(labeler, gold, len(text.split())) for gold, (text, _) in zip(golds, completions, strict=True)]
    shown = places or range(len(worths))
    worths = [
        (-worth if labeler.contrary else worth) - labeler.haste * place
        for worth, place in zip(worths, shown, strict=True)
    ]
    return view(worths, labeler.noise, golds, rng)


def view(worths: Sequence[float], noise: float, golds: Sequence[Gold], rng: random.Random) -> View:
    """The opinion that follows from what completions are worth to somebody.

    Args:
        worths: `taste` of each completion.
        noise: standard deviation of what is added to each, in units of the gold score.
        golds: what is to be known of each; decides the flags.
        rng: source of the noise.
    """
    felt = [worth + rng.gauss(0.0, noise) for worth in worths]
    order = sorted(range(len(felt)), key=lambda index: -felt[index])
    ranking = [[order[0]]] if order else []
    for before, index in itertools.pairwise(order):
        if felt[before] - felt[index] < TIE_WIDTH:
            ranking[-1].append(index)
        else:
            ranking.append([index])
    return View(ranking, [_quality(worth) for worth in felt], _flags(golds))


def write_demonstration(labeler: Labeler, prompt: str, rng: random.Random) -> str:
    """The answer that ``labeler`` writes to ``prompt``: usually right, not always good."""
    task = read_prompt(prompt)
    if task is None:
        return "Sorry: I do not know."
    shares = {style: DEMONSTRATION_STYLES[style] for style in STYLES}
    shares["courteous"] *= labeler.courtesy
    style = rng.choices(STYLES, weights=list(shares.values()))[0]
    faults = DEMONSTRATION_FAULTS
    wrong = rng.random() < (faults["invented"] if task.unstated else faults["wrong"]) / labeler.strictness
    answer = (wrong_answer if wrong else right_answer)(task, style, rng)
    if rng.random() < faults["rude"] / labeler.sensitivity:
        answer = insult(answer, rng)
    if rng.random() < faults["running_on"] / labeler.patience:
        answer = f"{answer} {rambling(rng, rng.randint(1, 2))}"
    return answer


def noise_ceiling(
    labelers: Sequence[Labeler], compared: Sequence[tuple[str, Sequence[tuple[str, bool]]]], rng: random.Random
) -> float:
    """The share of strictly ordered pairs that a predictor who knows the gold taste exactly would get right.

    Args:
        labelers: whose labels are predicted; one drawn for each prompt.
        compared: each prompt with its completions, as in ``assess``.
        rng: source of labelers and noise.

    Returns:
        Share in [0, 1], each pair of completions weighing the same; a pair equal under the gold taste counts one half.
    """
    right = pairs = 0.0
    for prompt, completions in compared:
        view = assess(rng.choice(labelers), prompt, completions, rng)
        place = {index: rank for rank, group in enumerate(view.ranking) for index in group}
        score = [judge(prompt, text, finished).score for text, finished in completions]
        for a, b in itertools.combinations(range(len(completions)), 2):
            if place[a] != place[b]:
                pairs += 1
                right += 0.5 if score[a] == score[b] else float((score[a] > score[b]) == (place[a] < place[b]))
    return right / pairs if pairs else float("nan")


def agreement(views: Sequence[Sequence[View]], seed: int = 0, resamples: int = 1000) -> tuple[float, float, float]:
    """How often two labelers order two completions alike, over pairs that both order strictly.

    Args:
        views: for each item, the views of the labelers who judged it; an item with one view says nothing.
        seed: of the bootstrap.
        resamples: bootstrap resamples of items.

    Returns:
        Share in [0, 1], and the lower and upper bound of its 95 % interval.
    """
    rates = [rate for each in views if (rate := _alike(each)) is not None]
    rng = random.Random(seed)
    means = sorted(sum(rng.choices(rates, k=len(rates))) / len(rates) for _ in range(resamples))
    return sum(rates) / len(rates), means[int(0.025 * resamples)], means[int(0.975 * resamples) - 1]


def _alike(views: Sequence[View]) -> float | None:
    places = [{index: rank for rank, group in enumerate(view.ranking) for index in group} for view in views]
    votes = [
        (one[a] < one[b]) == (two[a] < two[b])
        for one, two in itertools.combinations(places, 2)
        for a, b in itertools.combinations(sorted(one), 2)
        if one[a] != one[b] and two[a] != two[b]
    ]
    return sum(votes) / len(votes) if votes else None


def _quality(worth: float) -> int:
    return max(1, min(7, round(4.5 + 1.6 * worth)))


def _flags(golds: Sequence[Gold]) -> dict[str, list[int]]:
    tests = {
        "fails_instruction": [not gold.follows for gold in golds],
        "inappropriate": [gold.rude for gold in golds],
        "hallucination": [gold.hallucinated for gold in golds],
        "denigrates_protected_class": [gold.rude for gold in golds],
    }
    return {flag: [index for index, holds in enumerate(found) if holds] for flag, found in tests.items() if any(found)}
