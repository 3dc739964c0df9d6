import pytest

from feedback.errors import ConfigError
from workers.settings import WorkerSettings


@pytest.mark.parametrize("claim_s", [0.5, 601])
def test_a_claim_shorter_than_its_heartbeat_or_endless_is_refused(claim_s: float) -> None:
    with pytest.raises(ConfigError, match="WHETSTONE_CLAIM_S"):
        WorkerSettings.load(claim_s=claim_s)


def test_one_redis_for_records_and_messages_is_refused() -> None:
    with pytest.raises(ConfigError, match="the same Redis"):
        WorkerSettings.load(ledger_url="redis://127.0.0.1:1/0", broker_url="redis://127.0.0.1:1/0")


def test_curation_rules_come_from_the_settings() -> None:
    rules = WorkerSettings.load(prompts_per_customer=7, valid_percent=20, test_percent=30).rules
    assert (rules.most_per_customer, rules.valid_percent, rules.test_percent) == (7, 20, 30)
