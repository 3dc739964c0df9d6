"""One walk through a round: what it starts from, what it is compared with, and how it comes to nothing."""

import json
from pathlib import Path
from typing import Any

import pytest

from feedback import comparisons, labels, leases, policies, promotion, rounds
from feedback.client import Ledger
from feedback.errors import StageFailed
from tests.builders import make_label
from tests.trainer.rounds.stand_ins import fill, ready, settings_in
from trainer.rounds import work
from trainer.rounds.service import Service
from trainer.settings.service import TrainerSettings


@pytest.fixture
def settings(ledger: Ledger, tmp_path: Path) -> TrainerSettings:
    return settings_in(ledger, tmp_path)


@pytest.fixture
def filled(ledger: Ledger, settings: TrainerSettings) -> Ledger:
    return fill(ledger, settings)


def test_a_cancelled_round_registers_no_policy_and_the_next_one_leaves_no_gap(
    filled: Ledger, settings: TrainerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cancelled(stage: str, options: Any, output: Path, **rest: Any) -> dict[str, Any]:
        if stage == "ppo":
            rounds.cancel(filled)
            assert rest["may_go_on"]() is False
            raise StageFailed("ended by SIGTERM")
        return ready(stage, options, output, **rest)

    monkeypatch.setattr(work, "run_stage", cancelled)
    service = Service(settings, filled)
    rounds.request(filled, "ppo")
    service.once()
    (record,) = rounds.list_rounds(filled)
    assert (record.state, record.stage, record.error) == ("cancelled", "ppo", "an operator cancelled it")
    assert record.finished_at is not None
    assert len(policies.list_policies(filled)) == 2
    service.once()
    assert len(rounds.list_rounds(filled)) == 1, "nobody asked again"
    monkeypatch.setattr(work, "run_stage", ready)
    rounds.request(filled, "ppo")
    service.once()
    assert rounds.list_rounds(filled)[-1].version == "policy-0002"


def test_a_full_disk_fails_the_round_and_not_the_service(
    filled: Ledger, settings: TrainerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(work, "run_stage", full)
    rounds.request(filled, "sft")
    Service(settings, filled).once()
    (record,) = rounds.list_rounds(filled)
    assert (record.state, record.error) == ("failed", "[Errno 28] No space left on device")


def test_a_round_is_compared_with_what_was_live_when_it_began(
    filled: Ledger, settings: TrainerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    against: list[str] = []

    def promoting(stage: str, options: Any, output: Path, **rest: Any) -> dict[str, Any]:
        if stage == "sft":
            promotion.promote(filled, "policy-0000", "olga")
        if stage == "evaluate":
            against.append(options[options.index("--against") + 1])
        return ready(stage, options, output, **rest)

    monkeypatch.setattr(work, "run_stage", promoting)
    rounds.request(filled, "sft")
    Service(settings, filled).once()
    assert rounds.list_rounds(filled)[0].parent == "policy-0001"
    assert against == [f"live={settings.artifact_root / 'policies/policy-0001'}"]


def test_a_second_trainer_waits_while_the_first_holds_the_rounds(ledger: Ledger, settings: TrainerSettings) -> None:
    first, second = Service(settings, ledger), Service(settings, ledger)
    assert first.lease.take()
    rounds.request(ledger, "sft")
    second.once()
    assert rounds.list_rounds(ledger) == []
    first.lease.let_go()
    second.once()
    assert len(rounds.list_rounds(ledger)) == 1


def test_the_newest_reward_model_chooses_the_epoch_of_a_later_sft(
    filled: Ledger, settings: TrainerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def noting(stage: str, options: Any, output: Path, **rest: Any) -> dict[str, Any]:
        seen[stage] = options
        return ready(stage, options, output, **rest)

    monkeypatch.setattr(work, "run_stage", noting)
    service = Service(settings, filled)
    for kind in ("ppo", "sft"):
        rounds.request(filled, kind)
        service.once()
    (model,) = policies.list_reward_models(filled)
    assert seen["sft"][seen["sft"].index("--reward-model") + 1] == str(settings.artifact_root / model.path)
    assert "--incremental" not in seen["reward"]


def test_a_round_of_several_reward_models_trains_registers_and_uses_the_ensemble(
    filled: Ledger, settings: TrainerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def noting(stage: str, options: Any, output: Path, **rest: Any) -> dict[str, Any]:
        seen[stage] = (list(options), output)
        return ready(stage, options, output, **rest)

    monkeypatch.setattr(work, "run_stage", noting)
    rounds.request(filled, "ppo")
    Service(settings.model_copy(update={"reward_members": 3}), filled).once()
    options, made = seen["ensemble"]
    assert "reward" not in seen
    assert options[options.index("--members") + 1] == "3"
    assert "--tensorboard" in options
    for stage in ("ppo", "evaluate"):
        assert seen[stage][0][seen[stage][0].index("--reward") + 1] == str(made)
    assert seen["disagree"][0][seen["disagree"][0].index("--reward-models") + 1] == str(made)
    (model,) = policies.list_reward_models(filled)
    assert model.metrics["members"] == 3
    assert json.loads((settings.artifact_root / model.path / "config.json").read_text())[0] == "ensemble"


def test_without_new_comparisons_a_reward_model_is_trained_in_full(
    filled: Ledger, settings: TrainerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "run_stage", ready)
    service = Service(settings.model_copy(update={"reward_training": "incremental"}), filled)
    for _ in range(2):
        rounds.request(filled, "ppo")
        service.once()
    label_again(filled)
    rounds.request(filled, "ppo")
    service.once()
    models = policies.list_reward_models(filled)
    assert [each.metrics["training"] for each in models] == ["full", "full", "incremental"]
    assert models[2].metrics["init_reward"] == models[1].id


def label_again(ledger: Ledger) -> None:
    """Label the comparison that nobody ranked yet."""
    lease = leases.lease(ledger, "training", "lee")
    assert lease is not None
    full = comparisons.get(ledger, lease.item_id)
    labels.submit(ledger, make_label(full), full, lease.token)
