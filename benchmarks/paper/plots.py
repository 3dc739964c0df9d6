"""The pictures of the page: small multiples in one style, the same bytes for the same figures.

Dots are seeds, bars are 95 % intervals. Colours are those of Okabe and Ito, which colour-blind readers tell apart. The
paper's own figures are never drawn: its protocols are others. Knows figures and matplotlib; claims and words are the
page's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from benchmarks.paper.findings import FOLDS
from benchmarks.paper.summary import Estimate, Results, Row

BLUE, ORANGE, GREEN, RED, PURPLE, SKY, GREY = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#7F7F7F",
)  # fmt: skip
NAMES: Final = {
    "base": "base",
    "base-few-shot": "base, few-shot",
    "tasks": "public tasks",
    "sft": "SFT",
    "start": "start of PPO",
    "ppo": "PPO",
    "ppo-large-kl": "PPO, large KL coef.",
    "ppo-ptx": "PPO-ptx",
}
"""What arms are called, in the order of every picture and table."""
COLORS: Final = {
    "base": GREY, "base-few-shot": GREY, "tasks": PURPLE, "sft": SKY, "start": SKY, "ppo": RED,
    "ppo-large-kl": ORANGE, "ppo-ptx": BLUE,
}  # fmt: skip
STYLE: Final[dict[str, Any]] = {
    "font.family": "DejaVu Sans", "font.size": 10, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "grid.color": "#E5E5E5", "grid.linewidth": 0.8, "axes.axisbelow": True, "axes.titlesize": 11,
    "axes.titlelocation": "left", "legend.frameon": False, "figure.facecolor": "white", "axes.edgecolor": "#666666",
    "path.simplify": False,
}  # fmt: skip
WIDTH_IN, DPI = 9.2, 110


def draw(results: Results, directory: Path, names: Sequence[str] | None = None) -> list[Path]:
    """Write every picture (or those named) whose arms have results; return the files."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    with pyplot.style.context(["default", STYLE]):
        for name in names or PICTURES:
            figure = PICTURES[name](results)
            if figure is not None:
                path = directory / file_name(name)
                figure.savefig(path, dpi=DPI, metadata={"Software": None})
                pyplot.close(figure)
                written.append(path)
    return written


def file_name(finding: str) -> str:
    """The picture's file."""
    return f"paper-{finding.replace('_', '-')}.png"


def win_rates(results: Results) -> Figure | None:
    """Win rates of every policy against SFT and against the base, in two panels."""
    panels = [(opponent, [arm for arm in NAMES if results.win_rate(arm, opponent)]) for opponent in ("sft", "base")]
    if not all(arms for _, arms in panels):
        return None
    figure, axes = _panels(2, 3.6)
    for axis, (opponent, arms) in zip(axes, panels, strict=True):
        rates = {arm: results.win_rate(arm, opponent) for arm in arms}
        _dots(axis, {arm: rate for arm, rate in rates.items() if rate})
        axis.axvline(0.5, color="#333333", linewidth=1)
        axis.set(title=f"against {NAMES[opponent]}", xlabel="share of prompts won, ties half", xlim=(0, 1))
    axes[0].axvline(0.6, color=GREEN, linewidth=1, linestyle="--")
    axes[0].text(0.61, 0.02, "0.60", color=GREEN, fontsize=9, transform=axes[0].get_xaxis_transform())
    return figure


def truth(results: Results) -> Figure | None:
    """Shares of invented, of wrongly refused and of rude answers by policy, in four panels."""
    columns = {
        "hallucination_rate": "invented facts",
        "not_stated_rate": "facts overlooked",
        "rude_rate": "rude",
        "rude_respectful_rate": "rude, if told not to",
    }
    if not results.has("base", "ppo-ptx"):
        return None
    figure, axes = _panels(4, 3.6)
    for axis, (name, title) in zip(axes, columns.items(), strict=True):
        found = {arm: results.mean(arm, name) for arm in NAMES}
        _dots(axis, {arm: each for arm, each in found.items() if each}, names=axis is axes[0])
        axis.set(title=title, xlabel="share of completions")
        axis.set_xlim(left=0)
        axis.xaxis.set_major_locator(MaxNLocator(4))
    return figure


def tax(results: Results) -> Figure | None:
    """Loss on pretraining text against the gain in reward and in gold score, and accuracy at the public tasks."""
    if not results.rows("ppo-ptx", "points"):
        return None
    figure, axes = _panels(3, 3.8)
    for axis, column, unit in ((axes[0], "reward", "reward model"), (axes[1], "gold", "gold taste")):
        for arm in ("ppo", "ppo-large-kl", "ppo-ptx"):
            for number, rows in enumerate(results.rows(arm, "points").values()):
                x = [row[column] - rows[0][column] for row in rows]
                y = [100 * (row["pretraining_loss"] / rows[0]["pretraining_loss"] - 1) for row in rows]
                label = NAMES[arm] if number == 0 else None
                axis.plot(x, y, color=COLORS[arm], linewidth=1.4, alpha=0.85, label=label)
                axis.plot(x[-1:], y[-1:], "o", color=COLORS[arm], markersize=5)
        for level in (2, 10):
            axis.axhline(level, color="#333333", linewidth=0.9, linestyle=":")
            axis.text(
                1.0, level, f"{level} % ", fontsize=8, va="bottom", ha="right", transform=axis.get_yaxis_transform()
            )
        axis.set(title="what reward costs" if column == "reward" else "what quality costs")
        axis.set(xlabel=f"gain, {unit}", ylabel="rise of loss on text, %" if axis is axes[0] else None)
    axes[0].legend(loc="upper left", fontsize=9)
    found = {arm: results.mean(arm, "task_accuracy") for arm in NAMES if arm not in ("base-few-shot", "start")}
    _dots(axes[2], {arm: each for arm, each in found.items() if each})
    axes[2].set(title="public tasks", xlabel="accuracy, zero-shot", xlim=(0, 1))
    return figure


def over_optimisation(results: Results) -> Figure | None:
    """Reward model's and gold score against the square root of the KL, a panel a seed, with the fitted curves."""
    runs = results.rows("ppo-long", "points")
    if not runs:
        return None
    figure, axes = _panels(len(runs), 3.4, share_y=True)
    for axis, (seed, rows) in zip(axes, runs.items(), strict=True):
        for column, color, label in (("reward", ORANGE, "reward model"), ("gold", BLUE, "gold taste")):
            d = [math.sqrt(max(row["kl_nats"], 0.0)) for row in rows]
            gains = [row[column] - rows[0][column] for row in rows]
            axis.plot(d, gains, "o", color=color, markersize=3.5, alpha=0.7, label=label)
            _curve(axis, rows, column, color)
        axis.set(title=f"seed {seed}", xlabel="square root of KL, nats")
    axes[0].set_ylabel("gain in score")
    axes[0].legend(loc="upper left", fontsize=9)
    return figure


def kwise(results: Results) -> Figure | None:
    """Training and held-out loss by epoch, one panel for K-wise and one for shuffled pairs; accuracy in a third."""
    arms = {"reward": ("K-wise", BLUE), "reward-pairs": ("shuffled pairs", RED)}
    if not all(results.rows(arm, "epochs") for arm in arms):
        return None
    figure, axes = _panels(3, 3.4)
    for axis, (arm, (name, color)) in zip(axes, arms.items(), strict=False):
        for column, style, label in (("train_loss", "--", "training"), ("held_out_loss", "-", "held out")):
            _by_epoch(axis, results.rows(arm, "epochs"), column, color, style, label)
        axis.set(title=name, xlabel="epoch")
        axis.legend(loc="best", fontsize=9)
        _by_epoch(axes[2], results.rows(arm, "epochs"), "held_out_accuracy", color, "-", name)
    low = min(axis.get_ylim()[0] for axis in axes[:2])
    high = max(axis.get_ylim()[1] for axis in axes[:2])
    for axis in axes[:2]:
        axis.set_ylim(low, high)
    axes[0].set_ylabel("loss, nats a pair")
    axes[2].set(title="held-out accuracy", xlabel="epoch", ylabel="share of pairs")
    axes[2].legend(loc="best", fontsize=9)
    return figure


def generalisation(results: Results) -> Figure | None:
    """Accuracy at labelers trained on against that at labelers left out, a dot a fold and seed."""
    folds = [(results.figure(fold, "own_accuracy"), results.figure(fold, "other_accuracy")) for fold in FOLDS]
    pairs = [(own[seed], other[seed], seed) for own, other in folds for seed in own if seed in other]
    if not pairs:
        return None
    figure, (axis,) = _panels(1, 4.0, width=4.6)
    for color, seed in zip((BLUE, ORANGE, GREEN, RED, PURPLE, SKY), results.seeds, strict=False):
        mine = [(own, other) for own, other, which in pairs if which == seed]
        axis.plot(*zip(*mine, strict=True), "o", color=color, markersize=6, alpha=0.8, label=f"seed {seed}")
    low = min(min(own, other) for own, other, _ in pairs) - 0.01
    high = max(max(own, other) for own, other, _ in pairs) + 0.01
    axis.plot([low, high], [low, high], color="#333333", linewidth=1)
    axis.plot([low, high], [low - 0.03, high - 0.03], color="#333333", linewidth=0.9, linestyle=":")
    axis.set(xlim=(low, high), ylim=(low - 0.03, high), aspect="equal")
    axis.set(xlabel="accuracy at own labelers", ylabel="accuracy at held-out labelers")
    middle = low + 0.3 * (high - low)
    axis.text(middle, middle - 0.03, "3 points below", rotation=45, rotation_mode="anchor", va="bottom", fontsize=8)
    axis.legend(loc="lower right", fontsize=9)
    return figure


PICTURES: Final[Mapping[str, Callable[[Results], Figure | None]]] = {
    "preference": win_rates,
    "truth": truth,
    "generalisation": generalisation,
    "kwise": kwise,
    "tax": tax,
    "over_optimisation": over_optimisation,
}
"""By finding."""


def _panels(
    count: int, height_in: float, *, share_y: bool = False, width: float = WIDTH_IN
) -> tuple[Figure, list[Axes]]:
    figure, axes = pyplot.subplots(
        1, count, figsize=(width, height_in), squeeze=False, sharey=share_y, layout="constrained"
    )
    return figure, list(axes[0])


def _dots(axis: Axes, found: dict[str, Estimate], *, names: bool = True) -> None:
    """A row an arm: its seeds as small dots, its mean and interval."""
    for place, (arm, each) in enumerate(reversed(found.items())):
        color = COLORS[arm]
        if not math.isnan(each.low):
            axis.plot(
                [each.low, each.high], [place, place], color=color, linewidth=2.5, alpha=0.6, solid_capstyle="butt"
            )
        axis.plot(each.values, [place] * len(each.values), "o", color=color, markersize=3, alpha=0.7)
        axis.plot([each.mean], [place], "D", color=color, markersize=6.5)
    axis.set_yticks(range(len(found)), [NAMES[arm] for arm in reversed(found)] if names else [""] * len(found))
    axis.set_ylim(-0.6, len(found) - 0.4)
    axis.grid(axis="y", visible=False)


def _curve(axis: Axes, rows: Sequence[Row], column: str, color: str) -> None:
    from trainer.maths.overoptimisation import fit

    found = fit([row["kl_nats"] for row in rows], [row[column] - rows[0][column] for row in rows])
    if found is None:
        return
    most = math.sqrt(max(row["kl_nats"] for row in rows))
    d = [most * step / 100 for step in range(1, 101)]
    axis.plot(d, [found.start + x * (found.alpha - found.beta * math.log(x)) for x in d], color=color, linewidth=1.6)


def _by_epoch(axis: Axes, runs: Mapping[str, list[Row]], column: str, color: str, style: str, label: str) -> None:
    for number, rows in enumerate(runs.values()):
        epochs, values = [row["epoch"] for row in rows], [row[column] for row in rows]
        axis.plot(epochs, values, style, color=color, marker="o", markersize=4, linewidth=1.4, alpha=0.85,
                  label=label if number == 0 else None)  # fmt: skip
        axis.set_xticks([int(each) for each in epochs])
