"""Lineage: from a policy back to its labels, each link and each file checked."""

from pathlib import Path

import pytest

from feedback import keys, lineage, policies, promotion, rounds, snapshots
from feedback.client import Ledger
from feedback.errors import NotFound
from feedback.records import Snapshot
from tests.builders import make_directory, make_policy, make_reward_model, make_round


@pytest.fixture
def turned(ledger: Ledger, tmp_path: Path) -> Snapshot:
    """A ledger in which the loop was turned once: base, SFT, reward model and PPO, all with their files."""
    snapshot = snapshots.build(ledger, tmp_path)
    rounds.save(ledger, make_round(id="rnd_1"))
    sums = {path: make_directory(tmp_path, path, path) for path in ("policies/0", "policies/1", "policies/2", "rm")}
    policies.add_reward_model(ledger, make_reward_model(snapshot_id=snapshot.id, path="rm", sha256=sums["rm"]))
    policies.register(ledger, make_policy("policy-0000", path="policies/0", sha256=sums["policies/0"]))
    policies.register(
        ledger,
        make_policy(
            "policy-0001",
            kind="sft",
            path="policies/1",
            sha256=sums["policies/1"],
            parent="policy-0000",
            reference="policy-0000",
            snapshot_id=snapshot.id,
        ),
    )
    policies.register(
        ledger,
        make_policy(
            "policy-0002",
            kind="ppo",
            path="policies/2",
            sha256=sums["policies/2"],
            parent="policy-0001",
            reference="policy-0001",
            reward_model_id="rm_1",
            snapshot_id=snapshot.id,
            round_id="rnd_1",
        ),
    )
    promotion.promote(ledger, "policy-0002", "olga")
    return snapshot


def test_the_chain_runs_from_the_policy_back_to_the_base(ledger: Ledger, turned: Snapshot) -> None:
    chain = lineage.trace(ledger, "live")
    assert [(entry["version"], entry["kind"]) for entry in chain] == [
        ("policy-0002", "ppo"),
        ("policy-0001", "sft"),
        ("policy-0000", "base"),
    ]
    assert chain[0]["round"] == "rnd_1"
    assert chain[0]["reward_model"]["id"] == "rm_1"
    assert chain[0]["snapshot"]["id"] == turned.id
    assert chain[0]["snapshot"]["content_sha256"] == turned.content_sha256
    assert "snapshot" not in chain[2]


def test_a_whole_lineage_has_no_faults(ledger: Ledger, turned: Snapshot, tmp_path: Path) -> None:
    assert lineage.verify(ledger, "live", tmp_path) == []


@pytest.mark.parametrize("place", ["policies/0", "policies/1", "policies/2", "rm"])
def test_a_changed_file_anywhere_in_the_chain_is_a_fault(
    ledger: Ledger, turned: Snapshot, tmp_path: Path, place: str
) -> None:
    (tmp_path / place / "model.safetensors").write_text("other weights")
    faults = lineage.verify(ledger, "live", tmp_path)
    assert faults
    assert all(place in fault for fault in faults)


def test_a_changed_snapshot_is_a_fault(ledger: Ledger, turned: Snapshot, tmp_path: Path) -> None:
    (tmp_path / turned.path / "prompts.parquet").write_bytes(b"")
    assert any("prompts.parquet" in fault for fault in lineage.verify(ledger, "live", tmp_path))


@pytest.mark.parametrize(
    ("key", "field", "named"),
    [
        (keys.POLICIES, "policy-0000", "policy-0000"),
        (keys.POLICIES, "policy-0001", "policy-0001"),
        (keys.REWARD_MODELS, "rm_1", "rm_1"),
        (keys.ROUNDS, "rnd_1", "rnd_1"),
        (keys.SNAPSHOTS, "", "no snapshot"),
    ],
)
def test_a_missing_record_is_a_fault_and_is_named(
    ledger: Ledger, turned: Snapshot, tmp_path: Path, key: str, field: str, named: str
) -> None:
    ledger.redis.hdel(key, field or turned.id)
    faults = lineage.verify(ledger, "live", tmp_path)
    assert len(faults) == 1
    assert named in faults[0]


def test_the_snapshot_of_the_reward_model_is_checked_too(ledger: Ledger, turned: Snapshot, tmp_path: Path) -> None:
    model = policies.reward_model(ledger, "rm_1")
    policies.add_reward_model(ledger, make_reward_model(snapshot_id="snp_lost", path=model.path, sha256=model.sha256))
    assert lineage.verify(ledger, "live", tmp_path) == ["no snapshot 'snp_lost'"]


def test_a_chain_that_does_not_begin_at_a_base_is_a_fault(ledger: Ledger, tmp_path: Path) -> None:
    sha256 = make_directory(tmp_path, "policies/7")
    policies.register(ledger, make_policy("policy-0007", kind="sft", path="policies/7", sha256=sha256))
    assert lineage.verify(ledger, "policy-0007", tmp_path) == ["policy-0007 has no parent and is not a base model"]


def test_an_unknown_policy_has_no_lineage(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        lineage.trace(ledger, "live")
    assert lineage.verify(ledger, "live", tmp_path) == ["no policy 'live'; `whetstone policies` lists them"]
