"""What the trainer is told of unranked comparisons, and what it tells the queues."""

import json
import shutil
from pathlib import Path

import pytest

from feedback import keys, leases, queues, rounds
from feedback.client import Ledger
from tests.builders import lease_next, make_reward_model, make_round, open_comparison
from trainer.rounds import open_comparisons
from trainer.rounds.walk import Walk
from trainer.rounds.work import Stopped, Work
from trainer.settings.service import TrainerSettings


def test_the_newest_that_nobody_was_given_are_written_from_all_training_queues(ledger: Ledger, tmp_path: Path) -> None:
    queues.put(ledger, "talk", use_cases=["chat"])
    given, old, new = open_comparison(ledger), open_comparison(ledger), open_comparison(ledger, queue="talk")
    open_comparison(ledger, purpose="agreement")
    open_comparison(ledger, purpose="evaluation")
    assert lease_next(ledger, "ann").item_id == given.id
    file = tmp_path / "round" / "open.jsonl"
    assert open_comparisons.write(ledger, file, 10) == 2
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["id"] for row in rows] == [new.id, old.id]
    assert rows[0]["comparisons"] == []
    assert [each["text"] for each in rows[0]["responses"]] == [each.text for each in new.completions]
    assert rows[0]["messages"] == [{"role": "user", "content": new.messages[0].content}]
    assert open_comparisons.write(ledger, file, 1) == 1
    assert open_comparisons.write(ledger, file, 0) == 0


def test_figures_reach_the_queue_and_those_of_items_that_are_gone_reach_nothing(ledger: Ledger, tmp_path: Path) -> None:
    first, second = open_comparison(ledger), open_comparison(ledger)
    file = tmp_path / "figures.json"
    file.write_text(json.dumps({first.id: 0.1, second.id: 0.7, "cmp_gone": 0.9}))
    assert open_comparisons.note(ledger, file) == 2
    assert ledger.redis.exists(keys.item("cmp_gone")) == 0
    lease = leases.lease(ledger, "training", "ann", draw="disagreement")
    assert lease is not None
    assert (lease.item_id, lease.picked) == (second.id, "disagreement")


def test_figures_that_are_not_there_are_an_error(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        open_comparisons.note(ledger, tmp_path / "nowhere.json")


@pytest.fixture
def walk(ledger: Ledger, tmp_path: Path) -> Walk:
    """A round whose reward model is to be trained."""
    settings = TrainerSettings.load(
        ledger_url=ledger.url, artifact_root=tmp_path / "artifacts", work_root=tmp_path / "training", trainer_threads=1
    )
    record = make_round()
    rounds.begin(ledger, record)
    return Walk(Work(settings, ledger, record))


def test_a_round_notes_where_its_reward_model_and_the_one_before_differ(
    ledger: Ledger, walk: Walk, tiny_policy_dir: Path, tiny_reward_dir: Path
) -> None:
    for directory in (walk.work.made("reward"), walk.root / "reward-models/rm_1"):
        shutil.copytree(tiny_policy_dir, directory)
        shutil.copytree(tiny_reward_dir, directory, dirs_exist_ok=True)
    comparison = open_comparison(ledger)
    walk._disagree([make_reward_model(id="rm_1", path="reward-models/rm_1")])
    assert ledger.redis.hget(keys.item(comparison.id), "disagreement") == "0.000000", "the two are the same"
    assert rounds.get(ledger, walk.work.record.id).seconds["disagree"] > 0
    assert json.loads((walk.work.made("disagree") / "metrics.json").read_text())["models"] == 2
    assert not walk.work.made("unranked.jsonl").exists(), "customers' words stay nowhere else"


def test_a_round_goes_on_when_disagreement_cannot_be_found(ledger: Ledger, walk: Walk) -> None:
    comparison = open_comparison(ledger)
    walk._disagree([])  # there is no reward model
    assert ledger.redis.hget(keys.item(comparison.id), "disagreement") is None
    assert not walk.work.made("unranked.jsonl").exists()


def test_a_trainer_that_lost_its_round_stops_here_too(ledger: Ledger, walk: Walk) -> None:
    open_comparison(ledger)
    walk.work.hold = lambda: False
    with pytest.raises(Stopped):
        walk._disagree([])
