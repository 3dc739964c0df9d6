"""Ranked completions of a seed, and the reward models that are trained on them in the paper's ways and against them.

Knows labelers, files and the reward stages; policies' answers come from `benchmarks.paper.measure`.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from transformers import PreTrainedModel

from benchmarks.paper.measure import Examiner
from benchmarks.paper.plan import FOLDS, REWARD_EPOCH, settle
from benchmarks.paper.world import Row, World, write_rows
from sandbox.__main__ import comparison_rows
from sandbox.gold import judge
from sandbox.labelers import Group, agreement, assess, make_labelers, noise_ceiling
from trainer.settings.stages import RewardSettings, ScoreSettings
from trainer.stages import reward, score

BASE_EVERY = 4
"""Of every so many completions of a prompt one is the base's."""
FIRST_SHARE = 0.3
"""Of the others, the share of the policy of the first round, where there is one; the rest is the fine-tuned one's."""
GROUPS: tuple[Group, ...] = ("training", "held-out")
AGREEMENT_ROWS = 150
Figures = dict[str, float]


def make(
    world: World,
    examiner: Examiner,
    policies: Mapping[str, PreTrainedModel],
    directory: Path,
    seed: int,
    share: float = 1.0,
) -> Figures:
    """Write completions of training and of held-out customers' prompts with labelers' rankings; return figures of them.

    Files: ``train.jsonl`` (labelers of the training group, one a row), ``test-training.jsonl``,
    ``test-held-out.jsonl`` and ``test-gold.jsonl``: the same held-out completions ranked by a labeler of either group,
    and by the gold taste.

    Args:
        world: whose prompts.
        examiner: lets policies answer.
        policies: the base, the fine-tuned policy, and the one of a first round if there is one.
        directory: of the files.
        seed: of completions and labels.
        share: of the training prompts.
    """
    sizes = world.sizes

    def completed(rows: Sequence[Row], number: int) -> list[Row]:
        K = [sizes.least_K + index % (sizes.most_K - sizes.least_K + 1) for index in range(len(rows))]
        counts = [shares(each, list(policies)) for each in K]
        answers: dict[str, Iterator[Any]] = {}
        for offset, (name, policy) in enumerate(policies.items()):
            asked = [row["prompt"] for row, count in zip(rows, counts, strict=True) for _ in range(count[name])]
            answers[name] = iter(examiner.completions(policy, asked, seed * 10 + 3 * number + offset))
        found = []
        for row, count in zip(rows, counts, strict=True):
            texts = [next(answers[name]) for name in policies for _ in range(count[name])]
            found.append(row | {"responses": [{"text": each.text, "finished": each.finished} for each in texts]})
        return [row for row in found if len({each["text"] for each in row["responses"]}) > 1]

    train = completed(world.to_rank[: round(share * len(world.to_rank))], 0)
    test = completed(world.to_rank_test, 1)
    labelled = list(comparison_rows(train, "training", seed))
    write_rows(directory / "train.jsonl", (row | {"split": "train"} for row in labelled))
    for group in GROUPS:
        write_rows(directory / f"test-{group}.jsonl", comparison_rows(test, group, seed + 1))
    write_rows(directory / "test-gold.jsonl", map(_by_gold, test))
    return {
        "rows": len(labelled),
        "pairs": sum(each["winner"] != "tie" for row in labelled for each in row["comparisons"]),
        "K_mean": fmean(len(row["responses"]) for row in labelled),
        "agreement": _agreement(test, "training", seed),
        "agreement_held_out": _agreement(test, "held-out", seed),
    }


def shares(K: int, policies: Sequence[str]) -> dict[str, int]:
    """Return how many of K completions each of these policies writes: the base, the fine-tuned one, maybe a third."""
    base = K // BASE_EVERY
    first = round(FIRST_SHARE * (K - base)) if len(policies) > 2 else 0
    return dict(zip(policies, (base, K - base - first, first), strict=False))


def train(ranked: Path, policy: Path, directory: Path, seed: int, epochs: int, *, pairs: bool) -> dict[str, Any]:
    """Train a reward model epoch by epoch, each with a schedule of its own; return figures and series.

    Args:
        ranked: directory of ``make``.
        policy: whose trunk it starts from.
        directory: gets the model of every epoch.
        seed: of the order of the rows.
        epochs: passes in all; those after the first only show what more of them do.
        pairs: take the pairs apart and shuffle them, instead of all pairs of a prompt at once.
    """
    source = ranked / "train.jsonl"
    if pairs:
        source = write_rows(directory / "pairs.jsonl", itertools.chain.from_iterable(map(_apart, read_rows(source))))
    series, figures, latest = [], Figures(), {"policy": policy}
    for epoch in range(1, epochs + 1):
        output = model_after(directory, epoch)
        options = _batch(pairs, source) | latest
        reward.run(_reward_settings(output, source, seed + 1000 * (epoch - 1), options))
        latest = {"init_reward": output}
        on = _scores(output, {"train": ranked / "train.jsonl", **_tests(ranked)}, directory / f"score-{epoch}")
        row = {f"{name}_{key}": on[part][figure] for name, part in (("train", "train"), ("held_out", "test-training"))
               for key, figure in (("loss", "log_loss"), ("accuracy", "accuracy"))}  # fmt: skip
        series.append({"epoch": float(epoch)} | row)
        if epoch <= REWARD_EPOCH:
            figures = row | {
                "held_out_labelers_accuracy": on["test-held-out"]["accuracy"],
                "gold_accuracy": on["test-gold"]["accuracy"],
                "ceiling": _ceiling(ranked, "training", seed),
                "held_out_labelers_ceiling": _ceiling(ranked, "held-out", seed),
            }
    return {"figures": figures, "series": {"epochs": series}}


def model_after(directory: Path, epoch: int) -> Path:
    """Return where the reward model of an arm is after so many epochs."""
    return directory / f"epoch-{epoch}"


def fold(ranked: Path, policy: Path, directory: Path, seed: int, number: int) -> Figures:
    """Train without the labels of one fifth of the labelers; return the accuracy on theirs and on the others' labels.

    Own and others rank the very same completions of held-out customers' prompts.
    """
    names = [labeler.name for labeler in make_labelers(0) if labeler.group == "training"]
    others = {name for index, name in enumerate(names) if index % FOLDS == number}
    train = write_rows(directory / "train.jsonl", (row for row in read_rows(ranked / "train.jsonl")
                                                   if _labeler(row) not in others))  # fmt: skip
    reward.run(_reward_settings(directory / "reward", train, seed, {"policy": policy}))
    files, ceilings = {}, Figures()
    for part, chosen in (("own", set(names) - others), ("other", others)):
        labelers = [labeler for labeler in make_labelers(0) if labeler.name in chosen]
        rng = random.Random(f"fold:{seed}:{number}:{part}")
        shown = list(read_rows(ranked / "test-training.jsonl"))
        files[part] = write_rows(directory / f"test-{part}.jsonl", (_ranked(row, labelers, rng) for row in shown))
        ceilings[f"{part}_ceiling"] = noise_ceiling(labelers, [_shown(row) for row in shown], rng)
    on = _scores(directory / "reward", files, directory / "score")
    return {"own_accuracy": on["own"]["accuracy"], "other_accuracy": on["other"]["accuracy"]} | ceilings


def read_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a file of JSON lines."""
    with path.open() as file:
        for line in file:
            yield json.loads(line)


def _apart(row: Row) -> Iterator[Row]:
    """Each decided pair of a row as a row of its own; the stage shuffles them."""
    shown = [{"text": each["text"], "finished": each["finished"]} for each in row["responses"]]
    for number, said in enumerate(row["comparisons"]):
        responses = [shown[said["a"]], shown[said["b"]]]
        if said["winner"] != "tie" and responses[0] != responses[1]:
            yield {
                "id": f"{row['id']}-{number}", "prompt": row["prompt"], "customer": row["customer"],
                "responses": responses, "comparisons": [said | {"a": 0, "b": 1}], "split": "train",
            }  # fmt: skip


def _batch(pairs: bool, source: Path) -> dict[str, int]:
    """As many pairs in a step as the K-wise run has on average, so that both take as many steps."""
    if not pairs:
        return {}
    rows = list(read_rows(source))
    prompts = len({row["id"].rsplit("-", 1)[0] for row in rows})
    own = int(settle("reward", RewardSettings, {"output": source, "preferences": [source]}).batch_size)
    return {"batch_size": round(own * len(rows) / prompts)}


def _reward_settings(output: Path, source: Path, seed: int, given: dict[str, Any]) -> RewardSettings:
    fixed = {"output": output, "preferences": [source], "seed": seed, "valid_fraction": 0.0}
    return settle("reward", RewardSettings, fixed | given)


def _scores(model: Path, files: dict[str, Path], output: Path) -> dict[str, dict[str, float]]:
    """Return the report of a reward model on each file, by name."""
    found = {}
    for name, path in files.items():
        given = {"output": output / name, "reward_model": model, "preferences": [path], "bootstrap": 2}
        found[name] = score.run(settle("score", ScoreSettings, given))["all"]
    return found


def _tests(ranked: Path) -> dict[str, Path]:
    return {name: ranked / f"{name}.jsonl" for name in ("test-training", "test-held-out", "test-gold")}


def _shown(row: Row) -> tuple[str, list[tuple[str, bool]]]:
    return row["prompt"], [(each["text"], each["finished"]) for each in row["responses"]]


def _labeler(row: Row) -> str:
    return str(row["comparisons"][0]["annotator"])


def _ranked(row: Row, labelers: Sequence[Any], rng: random.Random) -> Row:
    """The row as one of these labelers ranks it."""
    labeler = rng.choice(labelers)
    view = assess(labeler, *_shown(row), rng)
    place = {index: rank for rank, tied in enumerate(view.ranking) for index in tied}
    return _judged(row, labeler.name, lambda index: -float(place[index]))


def _by_gold(row: Row) -> Row:
    golds = [judge(row["prompt"], each["text"], each["finished"]).score for each in row["responses"]]
    return _judged(row, "gold", golds.__getitem__)


def _judged(row: Row, annotator: str, worth: Callable[[int], float]) -> Row:
    def winner(a: int, b: int) -> str:
        return "tie" if worth(a) == worth(b) else "a" if worth(a) > worth(b) else "b"

    responses = [{"text": each["text"], "finished": each["finished"]} for each in row["responses"]]
    pairs = itertools.combinations(range(len(responses)), 2)
    said = [{"a": a, "b": b, "winner": winner(a, b), "annotator": annotator} for a, b in pairs]
    return {"id": row["id"], "prompt": row["prompt"], "responses": responses, "comparisons": said}


def _ceiling(ranked: Path, group: Group, seed: int) -> float:
    labelers = [labeler for labeler in make_labelers(0) if labeler.group == group]
    shown = [_shown(row) for row in read_rows(ranked / "test-training.jsonl")]
    return noise_ceiling(labelers, shown, random.Random(f"ceiling:{seed}:{group}"))


def _agreement(rows: Iterable[Row], group: Group, seed: int) -> float:
    rng = random.Random(f"agreement:{seed}:{group}")
    labelers = [labeler for labeler in make_labelers(0) if labeler.group == group]
    some = itertools.islice(rows, AGREEMENT_ROWS)
    views = [[assess(labeler, *_shown(row), rng) for labeler in rng.sample(labelers, 2)] for row in some]
    return agreement(views, resamples=1)[0] if views else float("nan")
