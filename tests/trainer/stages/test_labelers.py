"""Labelers while a reward model is trained: tables, terms of the loss, what is noted once, and what is written."""

import json
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from feedback.errors import ConfigError
from trainer.data.batches import EpochOrder
from trainer.data.examples import PreferenceGroup
from trainer.data.replay import merge_labels
from trainer.models.scalar import ScalarModel
from trainer.running.distributed import World
from trainer.settings.stages import RewardSettings
from trainer.stages.kwise import KwiseGradient
from trainer.stages.labelers import FIRST_FIT, LabelerTerms, Table, whose


def group(number: int, who: str, *, by: str = "training", **changes: Any) -> PreferenceGroup:
    made = PreferenceGroup(
        id=str(number),
        messages=[{"role": "user", "content": str(number)}],
        prompt_ids=[1, 3 + number],
        completions=[[5, 6, 7, 2], [6, 2], [7, 8, 2]],
        finished=[True, True, True],
        pairs=[(0, 1), (2, 1)],
        labelers=[who, who],
        labeler_group=by,
    )
    return replace(made, **changes)


def settings(tmp_path: Path, **changes: Any) -> RewardSettings:
    fields = {"output": tmp_path / "rm", "preferences": [tmp_path / "p.jsonl"]}
    return RewardSettings.model_validate(fields | changes)


def test_a_table_has_every_judgement_with_length_place_and_what_rows_say() -> None:
    shown = group(1, "ann", first_shown=[1, -1], features={"polite": [1.0, 0.0, 0.0]})
    first, second = group(2, "bob"), group(2, "cal")
    (merged,) = merge_labels([first, second])
    table = Table([shown, merged], bias=True)
    assert table.names == ["ann", "bob", "cal"]
    assert table.features == ["length", "shown_first", "polite"]
    assert table.labeler_P.tolist() == [0, 0, 1, 1, 2, 2]
    assert table.row_P.tolist() == [0, 0, 1, 1, 2, 2], "two people's rankings of one comparison are two rows"
    raw = (table.features_PF * table.units).tolist()
    for found, expected in zip(raw, ([2, 1, 1], [1, -1, 0], [2, 0, 0]), strict=False):
        assert found == pytest.approx(expected)
    assert torch.allclose(table.features_PF.square().mean(0), torch.ones(3, dtype=torch.float64))
    assert list(table.places(merged)) == [2, 3, 4, 5]
    assert Table([shown], bias=False).features == []


def test_equal_weights_are_the_papers_and_others_are_relative_to_the_prompts(tmp_path: Path) -> None:
    groups = [group(1, "ann"), group(2, "ann"), group(3, "bob", by="customer"), group(4, "eve", by="imported")]

    def weights(*given: str) -> list[float]:
        return LabelerTerms(groups, settings(tmp_path, group_weights=given)).terms(groups).weight_P.tolist()

    assert weights("training=2", "customer=2", "imported=2") == [1.0] * 8
    found = weights("training=1", "customer=0.5")
    assert found == pytest.approx([1 / 0.875] * 4 + [0.5 / 0.875] * 2 + [1 / 0.875] * 2)
    assert sum(found) == pytest.approx(8.0)
    for wrong, message in (("stranger=2", "nothing is by that group"), ("training=0 customer=0 imported=0", "above 0")):
        with pytest.raises(ConfigError, match=message):
            weights(*wrong.split())


def test_without_settings_there_are_no_terms_and_what_does_not_go_together_is_refused(tmp_path: Path) -> None:
    named, nameless = [group(1, "ann")], [group(1, "ann", labelers=[])]
    assert whose(named, settings(tmp_path)) is None
    with pytest.raises(ConfigError, match="--ties davidson"):
        whose(named, settings(tmp_path, labeler_model="bias", ties="davidson"))
    with pytest.raises(ConfigError, match="names its `annotator`"):
        whose(nameless, settings(tmp_path, labeler_model="bias"))
    with pytest.raises(ConfigError, match="one process"):
        whose(named, settings(tmp_path, labeler_model="bias"), World(rank=0, size=2))


def judged(rows: int = 300) -> tuple[list[PreferenceGroup], list[torch.Tensor]]:
    """Rows of three labelers, one of whom is contrary, with the gaps of a model that is right."""
    rng = random.Random(0)
    groups, gaps = [], []
    for number in range(rows):
        who = ("ann", "bob", "eve")[number % 3]
        worth = [rng.gauss(0, 2) for _ in range(3)]
        sign = -1 if who == "eve" else 1
        felt = [sign * each - math.log(-math.log(rng.random())) for each in worth]
        pairs = [(a, b) for a in range(3) for b in range(3) if felt[a] > felt[b]]
        groups.append(group(number, who, pairs=pairs, labelers=[who] * len(pairs)))
        gaps.append(torch.tensor([worth[a] - worth[b] for a, b in pairs]))
    return groups, gaps


def test_the_contrary_lose_their_say_while_training_and_only_the_first_gap_counts(tmp_path: Path) -> None:
    groups, gaps = judged()
    terms = LabelerTerms(groups, settings(tmp_path, labeler_model="reliability"))
    first = terms.terms(groups[:3])
    assert first.scale_P.tolist() == [1.0] * 9
    assert first.offset_P.tolist() == [0.0] * 9
    for each, of_each in zip(groups, gaps, strict=True):
        terms.saw([each], of_each)
    after = terms.terms(groups[:3])
    assert after.scale_P[6:].tolist() == [0.0] * 3
    assert all(scale > 0.7 for scale in after.scale_P[:6].tolist())
    before = terms.state()
    terms.saw(groups, torch.full((len(groups) * 3,), 9.0))
    assert terms.state() == before, "a model that has seen a judgement says nothing of who made it"


def test_what_is_restored_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    groups, gaps = judged(150)
    one, two = (LabelerTerms(groups, settings(tmp_path, labeler_model="bias")) for _ in range(2))
    for place, (each, of_each) in enumerate(zip(groups, gaps, strict=True)):
        one.saw([each], of_each)
        if place == 100:
            two.restore(json.loads(json.dumps(one.state())))
        if place > 100:
            two.saw([each], of_each)
    assert FIRST_FIT < 101 * 3
    for ours, theirs in zip(one.terms(groups), two.terms(groups), strict=True):
        assert torch.equal(ours, theirs)
    assert one.state() == two.state()


def test_what_is_written_names_the_contrary_and_puts_the_least_foreseen_items_first(tmp_path: Path) -> None:
    groups, gaps = judged()
    gaps[0] = -gaps[0].abs() - 3  # ann said the opposite of what is plain
    terms = LabelerTerms(groups, settings(tmp_path, labeler_model="bias"))
    terms.saw(groups, torch.cat(gaps))
    found = terms.save(tmp_path)["labelers"]
    assert found["adversarial"] == ["eve"]
    written = json.loads((tmp_path / "labelers.json").read_text())
    eve = written["labelers"]["eve"]
    assert eve["pairs"] == 300
    assert eve["reliability"]["low"] < eve["reliability"]["value"] < eve["reliability"]["high"] < 0
    assert eve["weight"] == 0.0
    assert set(eve["bias"]) == {"length"}
    assert written["usual"].keys() == {"reliability", "length"}
    items = [json.loads(line) for line in (tmp_path / "items.jsonl").read_text().splitlines()]
    assert items[0]["id"] == "0"
    assert items[0]["labelers"] == ["ann"]
    assert items[0]["excess_sd"] > 3
    assert [item["excess_sd"] for item in items] == sorted((item["excess_sd"] for item in items), reverse=True)
    assert all(0 <= item["entropy_nats"] <= math.log(2) + 1e-9 for item in items)
    assert found["items_beyond_chance"] >= 1


def test_a_groups_gradient_scales_with_its_weight(tmp_path: Path, tiny_policy_dir: Path) -> None:
    groups = [group(1, "ann"), group(2, "bob", by="customer")]
    torch.manual_seed(0)
    model = ScalarModel.from_policy(tiny_policy_dir)

    def gradient(some: list[PreferenceGroup], **changes: Any) -> torch.Tensor:
        given, order = settings(tmp_path, **changes), EpochOrder(len(some), len(some), 0)
        model.zero_grad()
        KwiseGradient(model, some, order, given, 0, whose=whose(some, given))()
        assert model.head.weight.grad is not None
        return model.head.weight.grad.clone()

    ours, theirs = gradient(groups[:1]), gradient(groups[1:])
    weighted = gradient(groups, group_weights=["training=3", "customer=1"])
    assert torch.allclose(weighted, (1.5 * ours + 0.5 * theirs) / 2, rtol=1e-4, atol=1e-5)
    assert torch.equal(gradient(groups, group_weights=["training=2", "customer=2"]), gradient(groups))
