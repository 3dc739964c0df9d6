"""What the ledger said is good for one more start, for a while, and for nobody else's eyes."""

import stat
from pathlib import Path

import pytest

from feedback.records import ApiKey
from serve.recording.memory import CONFIRMED_S, FILE, MAX_KEYS, Memory
from tests.builders import NOON, make_policy

DAY_S = 86_400.0


class Clock:
    """Unix time that passes when told."""

    def __init__(self) -> None:
        self.now_s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make_key(name: str = "alice") -> ApiKey:
    return ApiKey(id=f"key_{name}", role="client", owner=name, secret_sha256="0" * 64, created_at=NOON)


def test_a_fresh_memory_knows_nothing(tmp_path: Path) -> None:
    memory = Memory(tmp_path, DAY_S)
    assert (memory.aliases(), memory.policy("policy-0001"), memory.key("digest")) == (None, None, None)


def test_the_next_process_knows_what_this_one_was_told(tmp_path: Path, clock: Clock) -> None:
    first = Memory(tmp_path, DAY_S, clock)
    first.learn_policy(make_policy("policy-0001"))
    first.learn_key("digest", make_key())
    first.learn_aliases({"live": "policy-0001"})
    heir = Memory(tmp_path, DAY_S, clock)
    assert heir.aliases() == {"live": "policy-0001"}
    assert heir.policy("policy-0001") == make_policy("policy-0001")
    assert heir.key("digest") == make_key()


def test_the_file_is_for_us_alone_and_holds_no_secret(tmp_path: Path) -> None:
    memory = Memory(tmp_path, DAY_S)
    memory.learn_key("digest", make_key())
    memory.flush()
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_it_is_good_for_a_while_only(tmp_path: Path, clock: Clock) -> None:
    memory = Memory(tmp_path, DAY_S, clock)
    memory.learn_aliases({"live": "policy-0001"})
    memory.learn_key("digest", make_key())
    clock.now_s += DAY_S
    assert memory.aliases() is not None
    assert memory.key("digest") is not None
    clock.now_s += 1
    assert memory.aliases() is None
    assert memory.key("digest") is None


def test_a_ledger_that_says_the_same_again_makes_it_good_for_longer(tmp_path: Path, clock: Clock) -> None:
    memory = Memory(tmp_path, DAY_S, clock)
    for _ in range(2):
        memory.learn_aliases({"live": "policy-0001"})
        memory.learn_key("digest", make_key())
        clock.now_s += DAY_S / 2 + CONFIRMED_S
    heir = Memory(tmp_path, DAY_S, clock)
    assert heir.aliases() == {"live": "policy-0001"}
    memory.learn_aliases({"live": "policy-0001"})
    assert Memory(tmp_path, DAY_S, clock).key("digest") == make_key()


def test_a_key_that_was_refused_is_forgotten(tmp_path: Path, clock: Clock) -> None:
    memory = Memory(tmp_path, DAY_S, clock)
    memory.learn_key("digest", make_key())
    memory.flush()
    memory.forget_key("digest")
    memory.flush()
    assert Memory(tmp_path, DAY_S, clock).key("digest") is None


def test_a_changed_key_is_remembered_as_it_is_now(tmp_path: Path, clock: Clock) -> None:
    memory = Memory(tmp_path, DAY_S, clock)
    memory.learn_key("digest", make_key("alice"))
    memory.learn_key("digest", make_key("bob"))
    assert memory.key("digest") == make_key("bob")


def test_the_number_of_keys_is_bounded(tmp_path: Path) -> None:
    memory = Memory(tmp_path, DAY_S)
    for number in range(MAX_KEYS + 1):
        memory.learn_key(f"digest-{number}", make_key())
    assert memory.key("digest-0") is None
    assert memory.key("digest-1") is not None


def test_policies_that_no_alias_names_are_forgotten(tmp_path: Path) -> None:
    memory = Memory(tmp_path, DAY_S)
    memory.learn_policy(make_policy("policy-0001"))
    memory.learn_policy(make_policy("policy-0002"))
    memory.learn_aliases({"live": "policy-0002"})
    assert memory.policy("policy-0001") is None
    assert memory.policy("policy-0002") is not None


@pytest.mark.parametrize("content", ["", "{", '{"aliases": 3}', '{"strange": 1}', "\x00" * 100])
def test_a_damaged_file_counts_as_none_and_is_replaced(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    memory = Memory(tmp_path, DAY_S)
    assert memory.aliases() is None
    memory.learn_aliases({"live": "policy-0001"})
    assert Memory(tmp_path, DAY_S).aliases() == {"live": "policy-0001"}


def test_zero_seconds_remember_nothing(tmp_path: Path) -> None:
    memory = Memory(tmp_path, 0)
    memory.learn_aliases({"live": "policy-0001"})
    memory.flush()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_refuses_costs_the_memory_alone(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "not there", DAY_S)
    memory.learn_aliases({"live": "policy-0001"})
    assert memory.aliases() == {"live": "policy-0001"}
