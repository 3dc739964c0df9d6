"""What a round leaves in the registry: copies of what serving needs, records with parents, figures for the gate."""

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from feedback import artifacts, fence, keys, lineage, policies
from feedback.client import Ledger
from feedback.errors import LeaseLost
from feedback.promotion import Thresholds, judge
from tests.builders import make_report
from trainer.rounds import report
from trainer.running.layout import PROBE_FILE

PROBE: list[dict[str, Any]] = [{"messages": [], "token_ids": [1], "logprobs": [-0.1]}]
SERVED = ["config.json", "model.safetensors", "tokenizer.json"]


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A stage's output: what is served, and what is not."""
    directory = tmp_path / "trained"
    directory.mkdir()
    for name in [*SERVED, "settings.json", "metrics.jsonl", "optimizer.pt", "evil.py", artifacts.MANIFEST]:
        (directory / name).write_text(f"content of {name}")
    return directory


def found(**changes: Any) -> dict[str, Any]:
    """Return an evaluation's report, as the stage writes it."""
    own = {"kl_nats": 6.0, "eos_rate": 0.97, "pretraining_loss": 2.2}
    good: dict[str, Any] = {
        "policies": {"policy": own | changes.pop("own", {}), "reference": {"pretraining_loss": 2.0}},
        "win_rate": {"live": {"mean": 0.7, "low": 0.61, "high": 0.78, "n": 120}, "reference": {"mean": 0.8}},
        "length_ratio": {"live": 1.1},
        "prompts": 120,
    }
    return good | changes


def test_only_what_serving_needs_is_stored_and_nothing_that_could_run(trained: Path, tmp_path: Path) -> None:
    path, sha256 = report.store_policy(trained, tmp_path / "root", "policy-0001", PROBE)
    stored = sorted(each.name for each in (tmp_path / "root" / path).iterdir())
    assert stored == sorted([*SERVED, "settings.json", PROBE_FILE, artifacts.MANIFEST])
    assert json.loads((tmp_path / "root" / path / PROBE_FILE).read_text()) == PROBE
    artifacts.verify(tmp_path / "root" / path, sha256)


def test_storing_again_keeps_the_copy_that_is_there(trained: Path, tmp_path: Path) -> None:
    first = report.store_policy(trained, tmp_path / "root", "policy-0001", PROBE)
    (trained / "config.json").write_text("changed")
    assert report.store_policy(trained, tmp_path / "root", "policy-0001", PROBE) == first


def test_a_registered_policy_names_its_parents_and_the_settings_that_made_it(
    ledger: Ledger, trained: Path, tmp_path: Path
) -> None:
    base = report.register_base(ledger, tmp_path / "root", trained, PROBE)
    made = report.register_policy(
        ledger,
        tmp_path / "root",
        trained,
        "policy-0001",
        "sft",
        probe=PROBE,
        parent=base.version,
        reference=base.version,
    )
    assert policies.get(ledger, "candidate") == made
    assert (base.kind, made.kind, made.parent) == ("base", "sft", "policy-0000")
    assert made.config_sha256 == artifacts.sha256_of(trained / "settings.json")
    assert lineage.verify(ledger, made.version, tmp_path / "root") == []
    assert "live" not in policies.aliases(ledger)


def test_figures_of_a_good_evaluation_pass_the_gate() -> None:
    figures = report.gate_figures(found())
    assert figures["pretraining_loss_rise"] == pytest.approx(0.1)
    assert judge(make_report(**figures), Thresholds()).promote


def test_what_the_evaluation_could_not_measure_fails_the_gate() -> None:
    for lacking in (
        found(win_rate={}),
        found(own={"kl_nats": None}),
        found(own={"pretraining_loss": None}),
        found(length_ratio={"live": None}),
    ):
        decision = judge(msgspec.structs.replace(make_report(), figures=report.gate_figures(lacking)), Thresholds())
        assert not decision.promote
        assert any("missing" in reason for reason in decision.reasons)


def test_a_superseded_trainer_registers_nothing(ledger: Ledger, trained: Path, tmp_path: Path) -> None:
    assert fence.hold(ledger, "one", 60) == 1
    ledger.redis.delete(keys.ROUND_LOCK)
    assert fence.hold(ledger, "two", 60) == 2
    root = tmp_path / "root"
    for write in (
        lambda: report.register_reward_model(ledger, root, trained, "rm_1", "snp_1", {}, 1),
        lambda: report.register_report(ledger, "evr_1", "policy-0001", {}, 1),
        lambda: report.register_policy(ledger, root, trained, "policy-0001", "sft", probe=PROBE, number=1),
    ):
        with pytest.raises(LeaseLost):
            write()
    assert (policies.list_policies(ledger), policies.list_reward_models(ledger)) == ([], [])
    assert policies.report(ledger, "policy-0001") is None
    assert policies.aliases(ledger) == {}
    report.register_policy(ledger, root, trained, "policy-0001", "sft", probe=PROBE, number=2)
    assert policies.aliases(ledger) == {"candidate": "policy-0001"}, "the files of the first attempt are used"


def test_of_two_that_store_the_same_the_second_keeps_the_firsts_copy(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    copy = shutil.copyfile

    def slow(source: Path, target: Path) -> None:
        monkeypatch.setattr(shutil, "copyfile", copy)
        report.store_policy(trained, root, "policy-0001", PROBE)  # another trainer, in the meantime
        copy(source, target)

    monkeypatch.setattr(shutil, "copyfile", slow)
    path, sha256 = report.store_policy(trained, root, "policy-0001", PROBE)
    artifacts.verify(root / path, sha256)
    assert [each.name for each in (root / path).parent.iterdir()] == ["policy-0001"]
