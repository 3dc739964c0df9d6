"""Comparisons judged by labelers who lean, lie or have tastes of their own: what a labeler model is measured on.

Prompts, completions and the fine-tuned policy are those of `benchmarks.ranked_rounds`, half of the completions by the
base model and half by the policy; each row is shown in an order of its own and judged by one labeler. Knows people and
rows; the reward models are the benchmark's.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from benchmarks.ranked_rounds import World, answered
from sandbox.gold import judge
from sandbox.labelers import NOISE, Labeler, assess, make_labelers

Row = dict[str, Any]
MIDDLE_ROUND: Final = 4.5
"""Of ten rounds; half of the completions are by the base model then."""
PLANTED: Final[dict[str, tuple[str, int, Callable[[Labeler], Labeler]]]] = {
    "brevity": ("length", -1, lambda labeler: replace(labeler, brevity=0.12)),
    "courtesy-averse": ("courtesy", -1, lambda labeler: replace(labeler, courtesy=-2.0)),
    "haste": ("shown_first", 1, lambda labeler: replace(labeler, haste=0.4)),
    "courtesy-blind": ("courtesy", -1, lambda labeler: replace(labeler, courtesy=0.0)),
}
"""Name -> (feature that it shows in, its sign, what it makes of an unbiased labeler); noise has a deviation of 0.55."""
STRONG: Final = ("brevity", "courtesy-averse", "haste")
"""The plants that must be found. The other is a third as strong as its like, to show where the method ends."""


@dataclass(frozen=True)
class Person:
    """A labeler with a share of the work.

    Attributes:
        labeler: how he judges.
        group: labeler group that his rows name.
        share: of the rows, relative to the others'.
    """

    labeler: Labeler
    group: str = "training"
    share: float = 1.0


@dataclass
class Judges:
    """Who judges.

    Attributes:
        people: all of them.
    """

    people: list[Person] = field(default_factory=list)

    @classmethod
    def biased(cls, kind: str, number: int, count: int = 12) -> Judges:
        """Return people of exactly the gold taste, one of whom has the planted bias of this kind."""
        people = cls.unbiased(count).people
        people[number % count] = Person(PLANTED[kind][2](_unbiased(number % count)))
        return cls(people)

    @classmethod
    def unbiased(cls, count: int = 12) -> Judges:
        """Return people of exactly the gold taste, noise apart."""
        return cls([Person(_unbiased(place)) for place in range(count)])

    @classmethod
    def ordinary(cls, count: int, *, contrary: Sequence[int] = (), busy: int | None = None) -> Judges:
        """Return labelers with tastes of their own, some of them contrary, one perhaps so busy that he does a fifth."""
        found = [labeler for labeler in make_labelers(0) if labeler.group == "training"][:count]
        return cls([
            Person(replace(labeler, contrary=place in contrary), share=(count - 1) / 4 if place == busy else 1.0)
            for place, labeler in enumerate(found)
        ])  # fmt: skip

    @classmethod
    def two_tastes(cls, count: int = 6) -> Judges:
        """Return a group that wants few words and no courtesy, and one that wants courtesy above all."""
        brief = [replace(_unbiased(place), name=f"brief-{place}", brevity=0.2, courtesy=-1.0) for place in range(count)]
        kind = [replace(_unbiased(place), name=f"kind-{place}", courtesy=3.0) for place in range(count)]
        return cls([Person(each, "brief people") for each in brief] + [Person(each, "kind people") for each in kind])


def judged_rows(world: World, judges: Judges, split: str, seed: int, most: int, *, features: bool = False) -> list[Row]:
    """Return rows of ranked completions; the same seed has the same completions, turns and noise whoever judges.

    Args:
        world: prompts and completions.
        judges: who judges, in turns drawn by their shares.
        split: of the prompts, train or test.
        seed: of completions, turns, order of display and noise.
        most: rows at most.
        features: say of each completion how courteous it is, as anybody can see.
    """
    rng = random.Random(f"judged:{seed}:{split}")
    base, sft = (world.completions[split, name] for name in ("base", "sft"))
    prompts = rng.sample(world.prompts[split], min(most, len(world.prompts[split])))
    rows: list[Row] = []
    for prompt in prompts:
        row = answered(prompt, base[prompt["id"]], sft[prompt["id"]], MIDDLE_ROUND, rng)
        person = rng.choices(judges.people, [each.share for each in judges.people])[0]
        if len({each["text"] for each in row["responses"]}) > 1:
            rows.append(_judged(row, person, random.Random(f"{seed}:{row['id']}"), features))
    return rows


def _judged(row: Row, person: Person, rng: random.Random, features: bool) -> Row:
    responses = row["responses"]
    order = rng.sample(range(len(responses)), len(responses))
    places = [order.index(index) for index in range(len(responses))]
    texts = [(each["text"], each["finished"]) for each in responses]
    ranking = assess(person.labeler, row["prompt"], texts, rng, places).ranking
    place = {index: rank for rank, tied in enumerate(ranking) for index in tied}
    if features:
        courtesy = [judge(row["prompt"], text, finished).courtesy for text, finished in texts]
        responses = [each | {"features": {"courtesy": own}} for each, own in zip(responses, courtesy, strict=True)]
    return {
        "id": row["id"], "prompt": row["prompt"], "customer": row["customer"], "responses": responses,
        "display_order": order, "labeler_group": person.group, "split": None,
        "comparisons": [
            {"a": a, "b": b, "winner": _winner(place[a], place[b]), "annotator": person.labeler.name}
            for a, b in itertools.combinations(range(len(responses)), 2)
        ],
    }  # fmt: skip


def as_split(rows: Iterable[Row], split: str) -> list[Row]:
    """Return rows that say which split they are of, their ids as well: prompts of two splits share theirs."""
    return [row | {"split": split, "id": f"{split}-{row['id']}"} for row in rows]


def _winner(first: int, second: int) -> str:
    return "tie" if first == second else "a" if first < second else "b"


def _unbiased(number: int) -> Labeler:
    return Labeler(
        name=f"labeler-{number:02d}", group="training", noise=NOISE["training"], courtesy=1.0, strictness=1.0,
        sensitivity=1.0, patience=1.0, brevity=0.0,
    )  # fmt: skip
