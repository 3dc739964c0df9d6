"""What each labeler's word is worth while a reward model is trained, and what is written of them afterwards.

A judgement's gap is noted in the pass that is about to learn from it, so it is the gap of a model that had not seen the
judgement; on all gaps so far the labelers are fitted anew whenever there are half as many more. One pass serves for
both, as the paper's one epoch does. Knows groups and names; the fit is in `trainer.maths.labelers`, the loss in
`trainer.maths.losses`. Serving knows nothing of it: the reward model's score is what is left when
labelers are taken out.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from feedback.errors import ConfigError
from trainer.data.examples import PreferenceGroup
from trainer.data.replay import rows_of
from trainer.maths.labelers import BOUND, LabelerFit, calibrated, fit, log_odds, surprise
from trainer.maths.losses import PairTerms
from trainer.running.checkpoint import write_json
from trainer.running.distributed import ALONE, World
from trainer.settings.stages import RewardSettings

LABELERS_FILE, ITEMS_FILE = "labelers.json", "items.jsonl"
MOST_ITEMS = 200
FIRST_FIT, GROWTH = 200, 1.5
"""Judgements before the first fit, and how many times as many there are before the next one."""


class Table:
    """Every judgement of some groups, named, with its features; built once.

    Attributes:
        groups: each once.
        names: labelers, sorted; the number of one is the place here.
        features: names of the features, lengths in tokens and places of display first.
        units: what each feature is divided by.
    """

    def __init__(self, groups: Sequence[PreferenceGroup], *, bias: bool) -> None:
        """Number labelers, rows and judgements; without ``bias`` there is no feature."""
        self.names = sorted({name for group in groups for name in group.labelers if name})
        number = {name: place for place, name in enumerate(self.names)}
        self.features = _features(groups) if bias else []
        raw: list[list[float]] = []
        labelers: list[int] = []
        rows: list[int] = []
        self.groups = list({id(group): group for group in groups}.values())  # a bootstrap sample repeats some
        self._start: dict[int, int] = {}
        row = 0
        for group in self.groups:
            self._start[id(group)] = len(labelers)
            raw += [_differences(group, place, self.features) for place in range(len(group.pairs))]
            labelers += [number.get(name, -1) for name in group.labelers or [""] * len(group.pairs)]
            for each in rows_of(group):
                rows += [row] * len(each.pairs)
                row += 1
        features_PF = torch.tensor(raw, dtype=torch.float64).reshape(len(labelers), len(self.features))
        spread_F = features_PF.square().mean(0).sqrt()
        self.units = torch.where(spread_F > 0, spread_F, 1.0)
        self.features_PF = features_PF / self.units
        self.labeler_P = torch.tensor(labelers, dtype=torch.long)
        self.row_P = torch.tensor(rows, dtype=torch.long)

    def places(self, group: PreferenceGroup) -> range:
        """Where the group's judgements are."""
        start = self._start[id(group)]
        return range(start, start + len(group.pairs))


class LabelerTerms:
    """Terms of the loss by group weight and labeler, learned while training goes on.

    Attributes:
        table: all judgements that may be trained on.
        fit: the latest; None before the first.
    """

    def __init__(self, groups: Sequence[PreferenceGroup], settings: RewardSettings) -> None:
        """Begin with every labeler alike.

        Raises:
            ConfigError: a weight for a labeler group that nothing is by, or no judgement whose labeler is named.
        """
        self.table = Table(groups, bias=settings.labeler_model == "bias")
        self.fit: LabelerFit | None = None
        self._models_labelers = settings.labeler_model != "none"
        if self._models_labelers and not self.table.names:
            raise ConfigError(f"--labeler-model {settings.labeler_model}: no comparison names its `annotator`")
        self._weights = _relative(settings.weight_of_group, groups)
        self._gaps: dict[int, float] = {}
        self._fitted, self._next_fit = 0, FIRST_FIT

    def terms(self, groups: Sequence[PreferenceGroup]) -> PairTerms:
        """Return the terms of all judged pairs of groups, in their order."""
        at = [place for group in groups for place in self.table.places(group)]
        weight_P = torch.tensor(
            [self._weights.get(group.labeler_group or "", 1.0) for group in groups for _ in group.pairs]
        )
        scale_P, offset_P = torch.ones(len(at)), torch.zeros(len(at))
        if self.fit is not None:
            labeler_P, known_P = self.table.labeler_P[at], self.table.labeler_P[at] >= 0
            leaning_P = (self.fit.leanings_LD[labeler_P, 1:] * self.table.features_PF[at]).sum(1)
            scale_P = torch.where(known_P, self.fit.scales_L[labeler_P].float(), scale_P)
            offset_P = torch.where(known_P, leaning_P.float(), offset_P)
        return PairTerms(weight_P, scale_P, offset_P)

    def saw(self, groups: Sequence[PreferenceGroup], gaps_P: Tensor) -> None:
        """Note the gaps of judgements that are about to be learned from; of a second pass over them, nothing."""
        if not self._models_labelers:
            return
        at = [place for group in groups for place in self.table.places(group)]
        for place, gap in zip(at, gaps_P.tolist(), strict=True):
            self._gaps.setdefault(place, gap)
        if len(self._gaps) >= self._next_fit:
            self._fitted, self._next_fit = len(self._gaps), int(len(self._gaps) * GROWTH)
            self.fit = self._fit(self._fitted)

    def state(self) -> dict[str, Any]:
        """Return what was noted, in order, and when the latest fit was: all that the terms depend on."""
        noted = {"places": list(self._gaps), "gaps": list(self._gaps.values())}
        return noted | {"next_fit": self._next_fit, "fitted": self._fitted}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state`` returned."""
        self._gaps = dict(zip(state["places"], state["gaps"], strict=True))
        self._next_fit, self._fitted = int(state["next_fit"]), int(state["fitted"])
        self.fit = self._fit(self._fitted) if self._fitted else None

    def save(self, directory: Path) -> dict[str, Any]:
        """Write ``labelers.json`` and ``items.jsonl`` from a last fit; return what belongs among the metrics."""
        if not self._models_labelers:
            return {}
        if self._fitted < len(self._gaps) or self.fit is None:
            self.fit = self._fit(len(self._gaps))
        found = {name: self._of_labeler(place) for place, name in enumerate(self.table.names)}
        usual = dict(zip(["reliability", *self.table.features], self.fit.usual_D.tolist(), strict=True))
        units = dict(zip(self.table.features, self.table.units.tolist(), strict=True))
        write_json(directory / LABELERS_FILE, {"usual": usual, "feature_units": units, "labelers": found})
        items = self._items()
        (directory / ITEMS_FILE).write_text("".join(json.dumps(item) + "\n" for item in items[:MOST_ITEMS]))
        return {
            "labelers": {
                "adversarial": [name for name, each in found.items() if each["adversarial"]],
                "biased": {name: each["biased_on"] for name, each in found.items() if each["biased_on"]},
                "items_beyond_chance": sum(item["excess_sd"] > 3 for item in items),
            }
        }

    def _fit(self, first: int) -> LabelerFit:
        """Fit all labelers to the first so many judgements that were noted; those of nobody named are left out."""
        table = self.table
        at = torch.tensor(list(self._gaps)[:first], dtype=torch.long)
        gaps_P = calibrated(torch.tensor(list(self._gaps.values())[:first], dtype=torch.float64))
        known_P = table.labeler_P[at] >= 0
        at, gaps_P = at[known_P], gaps_P[known_P]
        return fit(gaps_P, table.features_PF[at], table.labeler_P[at], table.row_P[at], len(table.names))

    def _of_labeler(self, place: int) -> dict[str, Any]:
        """One labeler's entry: reliability as it is, leanings as they differ from everybody's, with 95 % intervals."""
        assert self.fit is not None
        effects, errors = self.fit.effects_LD[place].tolist(), (BOUND * self.fit.errors_LD[place]).tolist()
        leanings = dict(zip(self.table.features, self.fit.leanings_LD[place].tolist()[1:], strict=True))
        bias = {
            name: {"value": value, "low": value - half, "high": value + half}
            for (name, value), half in zip(leanings.items(), errors[1:], strict=True)
        }
        return {
            "pairs": int(self.fit.pairs_L[place]),
            "reliability": {"value": effects[0], "low": effects[0] - errors[0], "high": effects[0] + errors[0]},
            "weight": float(self.fit.scales_L[place]),
            "adversarial": bool(self.fit.adversarial_L[place]),
            "bias": bias,
            "biased_on": [name for name, each in bias.items() if each["low"] > 0 or each["high"] < 0],
        }

    def _items(self) -> list[dict[str, Any]]:
        """Every comparison that was trained on, those first whose labelers were least foreseen."""
        assert self.fit is not None
        table, noted = self.table, torch.tensor(list(self._gaps), dtype=torch.long)
        gaps_P = calibrated(torch.tensor(list(self._gaps.values()), dtype=torch.float64))
        odds_P = log_odds(self.fit, gaps_P, table.features_PF[noted], table.labeler_P[noted])
        chance_P = torch.sigmoid(gaps_P * max(float(self.fit.usual_D[0]), 0.0))
        entropy_P = torch.special.entr(chance_P) + torch.special.entr(1 - chance_P)
        named = set(noted[table.labeler_P[noted] >= 0].tolist())
        number = {place: count for count, place in enumerate(self._gaps) if place in named}
        items = []
        for group in table.groups:
            if at := [number[place] for place in table.places(group) if place in number]:
                nats, excess = surprise(odds_P[at])
                items.append({
                    "id": group.id, "labelers": sorted({name for name in group.labelers if name}), "pairs": len(at),
                    "surprise_nats": round(nats, 4), "excess_sd": round(excess, 3),
                    "entropy_nats": round(float(entropy_P[at].mean()), 4),
                })  # fmt: skip
        return sorted(items, key=lambda item: -item["excess_sd"])


def whose(groups: Sequence[PreferenceGroup], settings: RewardSettings, world: World = ALONE) -> LabelerTerms | None:
    """Return the terms that the settings ask for; None where every labeler counts alike, as in the paper.

    Raises:
        ConfigError: they do not go together with other settings, or with the data.
    """
    if settings.labeler_model == "none" and not settings.group_weights:
        return None
    if settings.ties != "drop":
        raise ConfigError(f"--labeler-model and --group-weights do not go together with --ties {settings.ties}")
    if settings.labeler_model != "none" and world.size > 1:
        raise ConfigError("--labeler-model runs in one process as yet")
    return LabelerTerms(groups, settings)


def _features(groups: Sequence[PreferenceGroup]) -> list[str]:
    """Names of what can be seen of a completion: its length, its place of display if known, and what the rows say."""
    own = {name for group in groups for name in group.features}
    shown = any(any(group.first_shown) for group in groups)
    return ["length", *(["shown_first"] if shown else []), *sorted(own)]


def _differences(group: PreferenceGroup, place: int, features: Sequence[str]) -> list[float]:
    """Features of the chosen completion minus those of the rejected one; what is not known differs by 0."""
    chosen, rejected = group.pairs[place]
    known = {"length": float(len(group.completions[chosen]) - len(group.completions[rejected]))}
    if group.first_shown:
        known["shown_first"] = float(group.first_shown[place])
    known |= {name: values[chosen] - values[rejected] for name, values in group.features.items()}
    return [known.get(name, 0.0) for name in features]


def _relative(weights: Mapping[str, float], groups: Sequence[PreferenceGroup]) -> dict[str, float]:
    """Weights over their mean over the prompts that are trained on, so that equal ones are the paper's loss."""
    prompts = Counter(group.labeler_group or "" for group in groups)
    if unknown := sorted(set(weights) - set(prompts)):
        raise ConfigError(f"--group-weights {unknown[0]}: nothing is by that group; there are {sorted(prompts)}")
    mean = sum(weights.get(name, 1.0) * count for name, count in prompts.items()) / max(len(groups), 1)
    if mean <= 0:
        raise ConfigError("--group-weights: no group has a weight above 0")
    return {name: weights.get(name, 1.0) / mean for name in prompts}
