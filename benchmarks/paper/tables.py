"""The page's tables: each finding's figures as Markdown, means over seeds with their intervals.

Knows figures, names and formats; verdicts and words are the page's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from benchmarks.paper import published
from benchmarks.paper.findings import at_equal_gain, change, epoch, folds
from benchmarks.paper.plots import NAMES
from benchmarks.paper.summary import BySeed, Estimate, Results, estimate, minus, ratio
from benchmarks.paper.tasks import TASKS

NOTHING: Final = "-"
ABLATED: Final = {
    "ppo-ptx": "PPO-ptx",
    "raw": "without EMA (its last weights)",
    "ppo-no-whitening": "without whitening of advantages",
    "ppo-reward-pairs": "reward model of shuffled pairs",
    "ppo": "without ptx",
    "ppo-large-kl": "without ptx, ten times the KL coefficient",
}
"""Runs of the last table; "raw" is no arm but PPO-ptx's weights without their average."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def show(found: Estimate | None, *, scale: float = 1, digits: int = 2, unit: str = "") -> str:
    """A mean with its interval, such as ``71.2 % (68.0 to 74.4)``; without one where there is one seed."""
    if found is None:
        return NOTHING
    mean, low, high = (f"{scale * each:.{digits}f}" for each in (found.mean, found.low, found.high))
    return f"{mean}{unit}" + (f" ({low} to {high})" if len(found.values) > 1 else "")


def printed(figures: Iterable[published.Printed]) -> str:
    """The paper's figures with their sections."""
    return ", ".join(f"{each.what} {each.figure} ({each.where})" for each in figures) or NOTHING


def preference(results: Results) -> str:
    """Win rates against three opponents, and what the gold taste sees in each policy's answers."""
    head = ["Policy", "wins against SFT", "over prompts alone", "wins against base", "PPO-ptx wins against it"]
    rates = []
    for arm in _policies(results):
        interval = results.prompt_intervals.get(arm, {}).get("sft")
        alone = f"{interval[0]:.2f} to {interval[1]:.2f}" if interval else NOTHING
        won = [show(results.win_rate(*who)) for who in ((arm, "sft"), (arm, "base"), ("ppo-ptx", arm))]
        rates.append([NAMES[arm], won[0], alone, *won[1:]])
    columns = {
        "gold score": "gold_mean", "answers": "follows_rate", "false": "untrue_rate", "rude": "rude_rate",
        "stops": "stops_rate", "courtesy": "courtesy_mean", "tokens": "length_tokens",
    }  # fmt: skip
    judged = [[NAMES[arm], *_means(results, arm, columns.values())] for arm in _policies(results)]
    seen = table(["Policy", *columns], judged)
    return (
        f"{table(head, rates)}\n\nMeans of what the gold taste sees (shares, but for gold score and tokens):\n\n{seen}"
    )


def truth(results: Results) -> str:
    """Shares of invented and of rude answers."""
    names = ("hallucination_rate", "not_stated_rate", "rude_rate", "rude_respectful_rate")
    head = ["Policy", "invented, nothing stated", '"not stated", but it is', "rude", "rude, told to be respectful"]
    rows = [[NAMES[arm], *(show(results.mean(arm, name), digits=3) for name in names)] for arm in _policies(results)]
    return table(head, rows)


def generalisation(results: Results) -> str:
    """Accuracies at own and at held-out labelers, and how often labelers agree."""
    rows = []
    for what, who in (("labelers trained on", "own"), ("labelers left out", "other")):
        shares = [_percent(folds(results, f"{who}_{name}")) for name in ("accuracy", "ceiling")]
        rows.append([f"five folds: {what}", *shares])
    for what, names in _WHOLE.items():
        rows.append([f"all labels: {what}", *(_percent(results.figure("reward", name)) for name in names)])
    accuracies = table(["Pairs ordered as by", "accuracy, %", "of who knows the gold taste, %"], rows)
    agreed = {who: _percent(results.figure("comparisons", name)) for who, name in _AGREEMENT.items()}
    said = (
        ", ".join(f"{who} {share} %" for who, share in agreed.items())
        + f"; in the paper {printed(published.AGREEMENT)}"
    )
    return f"{accuracies}\n\nTwo labelers order two completions alike: {said}."


def kwise(results: Results) -> str:
    """Losses and accuracies of both ways by epoch."""
    names = ("train_loss", "held_out_loss", "train_accuracy", "held_out_accuracy")
    numbers = sorted({int(row["epoch"]) for rows in results.rows("reward", "epochs").values() for row in rows})
    rows = [
        [what, str(number), *(show(estimate(epoch(results, arm, name, number)), digits=3) for name in names)]
        for arm, what in (("reward", "K-wise"), ("reward-pairs", "shuffled pairs"))
        for number in numbers
    ]
    head = ["Comparisons", "epoch", "training loss", "held-out loss", "training accuracy", "held-out accuracy"]
    return table(head, rows)


def tax(results: Results) -> str:
    """What the loss on text was where runs had gained the same, and accuracies at the public tasks."""
    rows = []
    for arm in ("ppo", "ppo-large-kl"):
        equal = at_equal_gain(results, arm)
        losses = [_percent(each) for each in (equal.other, equal.ptx, change(results, arm))]
        rows.append([NAMES[arm], show(estimate(equal.gain)), *losses])
    gain, ended = show(estimate(_gain(results, "ppo-ptx", "reward"))), _percent(change(results, "ppo-ptx"))
    rows.append([NAMES["ppo-ptx"], gain, ended, ended, ended])
    losses_table = table(["Run", "reward gained", "loss on text there, %", "PPO-ptx's there, %", "at the end, %"], rows)
    solved = []
    for arm in _policies(results):
        of_each = _means(results, arm, (f"task_accuracy_{task}" for task in TASKS))
        others = _means(results, arm, ("task_exact", "task_few_shot_accuracy"))
        solved.append([NAMES[arm], *of_each, show(results.mean(arm, "task_accuracy")), *others])
    tasks = table(["Policy", *TASKS, "all", "exact", "with examples"], solved)
    theirs = [
        [f"{task}, {shots}", *(f"{value:g}" for value in values)]
        for task, by in published.TABLE_14.items()
        for shots, values in by.items()
    ]
    folded = table(["Table 14, 175B", *published.TABLE_14_COLUMNS], theirs)
    return (
        f"{losses_table}\n\nAccuracy at the miniature public tasks:\n\n{tasks}\n\n"
        f"<details><summary>The paper's tasks</summary>\n\n{folded}\n\n</details>"
    )


def over_optimisation(results: Results) -> str:
    """Where each seed's gold score was best, and what was left of it at the end."""
    rows = []
    for seed, points in results.rows("ppo-long", "points").items():
        best, first = max(points, key=lambda row: row["gold"]), points[0]
        cells = [
            (row["gold"] - first["gold"], row["reward"] - first["reward"], row["kl_nats"]) for row in (best, points[-1])
        ]
        rows.append([seed, *(f"{value:.2f}" for cell in cells for value in cell)])
    names = ("gold gained", "reward gained", "KL, nats")
    return table(["Seed", *(f"{name}, {when}" for when in ("at its best", "at the end") for name in names)], rows)


def ablations(results: Results) -> str:
    """What each change to PPO-ptx did to gains, KL, loss and win rates."""
    rows = []
    for arm, what in ABLATED.items():
        of = "ppo-ptx" if arm == "raw" else arm
        start = results.figure(of, "start_pretraining_loss")
        lost = ratio(minus(_end(results, arm, "pretraining_loss"), start), start)
        gains = [show(estimate(_gain(results, arm, name))) for name in ("gold", "reward")]
        kl = show(estimate(_end(results, arm, "kl_nats")), digits=1)
        won = [show(results.win_rate(arm, other)) for other in ("sft", "ppo-ptx")]
        rows.append([what, *gains, kl, _percent(lost), *won])
    head = [
        "Run",
        "gold gain",
        "reward gain",
        "KL, nats",
        "loss on text, %",
        "wins against SFT",
        "wins against PPO-ptx",
    ]
    return table(head, rows)


_WHOLE: Final = {
    "training labelers": ("held_out_accuracy", "ceiling"),
    "held-out group": ("held_out_labelers_accuracy", "held_out_labelers_ceiling"),
}
_AGREEMENT: Final = {"training labelers": "agreement", "held-out ones": "agreement_held_out"}


def _policies(results: Results) -> list[str]:
    return [arm for arm in NAMES if results.has(arm)]


def _means(results: Results, arm: str, names: Iterable[str]) -> list[str]:
    found = (results.mean(arm, name) for name in names)
    return [NOTHING if each is None else f"{each.mean:.2f}" for each in found]


def _percent(figure: BySeed) -> str:
    return show(estimate(figure), scale=100, digits=1)


def _end(results: Results, arm: str, name: str) -> BySeed:
    """A measurement at the end of a run; of the last weights instead of their average where the arm is "raw"."""
    if arm == "raw":
        return results.figure("ppo-ptx", f"raw_{name}_mean" if name in ("gold", "reward") else f"raw_{name}")
    return {seed: rows[-1][name] for seed, rows in results.rows(arm, "points").items()}


def _gain(results: Results, arm: str, name: str) -> BySeed:
    return minus(_end(results, arm, name), results.figure("ppo-ptx" if arm == "raw" else arm, f"start_{name}_mean"))
