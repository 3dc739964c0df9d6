"""Mixtures: how K completions are shared out, and what ``sft`` stands for."""

from feedback import policies, promotion
from feedback.client import Ledger
from tests.builders import make_policy
from workers import mixtures


def test_completions_are_shared_out_in_turn() -> None:
    assert mixtures.shared_out(["live"], 4) == {"live": 4}
    assert mixtures.shared_out(["live", "previous", "sft"], 4) == {"live": 2, "previous": 1, "sft": 1}
    assert mixtures.shared_out(["live", "live", "sft"], 9) == {"live": 6, "sft": 3}
    assert mixtures.shared_out(["live", "previous", "sft"], 2) == {"live": 1, "previous": 1}


def test_sft_is_live_until_a_supervised_policy_was_promoted_and_then_the_newest_of_them(ledger: Ledger) -> None:
    for number, kind in enumerate(("base", "sft", "ppo", "sft", "sft")):
        policies.register(ledger, make_policy(f"policy-000{number}", kind=kind))
    assert mixtures.newest_sft(ledger) == "live"
    promotion.promote(ledger, "policy-0001", "olga")
    promotion.promote(ledger, "policy-0003", "olga")
    promotion.promote(ledger, "policy-0002", "olga")
    assert mixtures.newest_sft(ledger) == "policy-0003", "a former one counts, one that was never live does not"
    promotion.roll_back(ledger, "olga")
    assert mixtures.newest_sft(ledger) == "policy-0003"


def test_only_sft_is_replaced() -> None:
    assert mixtures.resolved(["live", "sft", "policy-0001"], "policy-0002") == ["live", "policy-0002", "policy-0001"]


def test_models_are_counted_under_few_words() -> None:
    assert [mixtures.kind_of(model) for model in ("previous", "policy-0001", "whatever")] == [
        "previous",
        "version",
        "version",
    ]
