"""Guidelines: the built-in version, published ones, and the flags of the paper's Table 3."""

import threading

import pytest

from feedback import guidelines, promotion
from feedback.client import Ledger
from feedback.errors import Conflict, InvalidRecord, NotFound


def test_the_built_in_text_states_both_orders_of_priority_and_names_every_flag_and_act() -> None:
    found = guidelines.built_in()
    assert (found.version, found.must_acknowledge) == ("1", False)
    training = found.text.index("**Helpfulness comes first.**")
    evaluation = found.text.index("**Truthfulness and harmlessness come first.**")
    assert found.text.index("### In training") < training < found.text.index("### In evaluation") < evaluation
    for heading in ("## How to rank", "## Flags", "## Skip", "## Report", "# Hard cases"):
        assert f"\n{heading}\n" in found.text
    assert found.text.count("\n## Example: ") >= 8
    assert found.text.count("- **") >= len(guidelines.FLAGS)


def test_flags_are_those_of_the_table_and_one_is_for_closed_domains() -> None:
    assert len(guidelines.FLAGS) == 11
    assert len(guidelines.FLAG_NAMES) == 11
    assert [flag.name for flag in guidelines.FLAGS if flag.closed_domain_only] == ["hallucination"]


@pytest.mark.redis
def test_without_a_published_version_the_built_in_one_is_in_force(ledger: Ledger) -> None:
    assert guidelines.current(ledger) == guidelines.built_in()
    assert guidelines.get(ledger, "1") == guidelines.built_in()
    with pytest.raises(NotFound):
        guidelines.get(ledger, "2")


@pytest.mark.redis
def test_a_published_version_is_in_force_and_the_old_one_stays(ledger: Ledger) -> None:
    for number in range(2, 13):
        made = guidelines.publish(ledger, f"# Rules {number}", f"Rule {number}.", "olga", must_acknowledge=number > 5)
        assert (made.version, made.must_acknowledge) == (str(number), number > 5)
    assert guidelines.current(ledger).text == "# Rules 12", "the tenth comes after the ninth"
    assert [each.version for each in guidelines.history(ledger)] == [str(number) for number in range(12, 0, -1)]
    assert guidelines.get(ledger, "3").text == "# Rules 3"
    entry = list(promotion.audit(ledger))[-1]
    assert (entry.action, entry.before, entry.after, entry.reason) == ("publish guidelines", "11", "12", "Rule 12.")


@pytest.mark.redis
@pytest.mark.parametrize(("text", "change"), [("", "x"), (" \n", "x"), ("x", " "), ("x" * 100_001, "x")])
def test_what_says_nothing_is_not_published(ledger: Ledger, text: str, change: str) -> None:
    with pytest.raises(InvalidRecord):
        guidelines.publish(ledger, text, change, "olga")


@pytest.mark.redis
def test_of_those_who_publish_at_once_each_gets_a_version_or_is_told(ledger: Ledger) -> None:
    versions, refused = [], []

    def publish(number: int) -> None:
        try:
            versions.append(guidelines.publish(ledger, f"text {number}", "new", "olga").version)
        except Conflict:
            refused.append(number)

    threads = [threading.Thread(target=publish, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(versions) + len(refused) == 8
    assert sorted(map(int, versions)) == list(range(2, 2 + len(versions)))
    assert len(guidelines.history(ledger)) == 1 + len(versions)
