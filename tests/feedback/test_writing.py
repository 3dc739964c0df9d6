"""Written prompts: drafts with revisions, a reviewer's word, and all items of a few-shot prompt or none."""

from typing import Any

import pytest

from feedback import collection, comparisons, demonstrations, keys, leases, promotion, prompts, writing
from feedback.client import Ledger
from feedback.curation import Rules, text_of
from feedback.errors import Conflict, InvalidRecord, NotFound
from feedback.records import Shot, WrittenPrompt
from feedback.written_items import items
from tests.builders import make_completion, make_prompt, make_written

pytestmark = pytest.mark.redis
RULES = Rules()
SHOTS = [Shot(query=f"city {number}", response=f"country {number}") for number in range(3)]
FEW: dict[str, Any] = {"kind": "few_shot", "use_case": "open_qa", "text": "Name the country.", "shots": SHOTS}
PLAIN: dict[str, Any] = {"kind": "plain", "use_case": "other", "text": "Write a poem.", "shots": []}


def begun(ledger: Ledger, **changes: Any) -> WrittenPrompt:
    return writing.begin(ledger, make_written(**{**FEW, **changes}))


def submitted(ledger: Ledger, **changes: Any) -> WrittenPrompt:
    draft = begun(ledger, **changes)
    return writing.submit(ledger, draft.id, draft.labeler, draft.revision)


def test_each_save_is_a_revision_and_all_are_kept(ledger: Ledger) -> None:
    draft = begun(ledger, text="Name")
    assert writing.begin(ledger, draft) == draft, "begun twice by a client that retries"
    second = writing.edit(ledger, draft.id, "lee", 0, **{**FEW, "text": "Name the"})
    third = writing.edit(ledger, draft.id, "lee", 1, **FEW)
    assert [each.revision for each in (draft, second, third)] == [0, 1, 2]
    assert [each.text for each in writing.history(ledger, draft.id)] == ["Name", "Name the", "Name the country."]
    assert writing.get(ledger, draft.id) == third
    assert writing.written_by(ledger, "lee") == [third]
    assert writing.written_by(ledger, "kim") == []


def test_a_stale_edit_is_refused_and_a_repeated_one_is_not(ledger: Ledger) -> None:
    draft = begun(ledger)
    changed = writing.edit(ledger, draft.id, "lee", 0, **{**FEW, "text": "one"})
    assert writing.edit(ledger, draft.id, "lee", 0, **{**FEW, "text": "one"}) == changed
    with pytest.raises(Conflict, match="there is 1 by now"):
        writing.edit(ledger, draft.id, "lee", 0, **{**FEW, "text": "two"})
    assert len(writing.history(ledger, draft.id)) == 2


def test_nobody_else_sees_changes_or_submits_a_draft(ledger: Ledger) -> None:
    draft = begun(ledger)
    for attempt in (
        lambda: writing.mine(ledger, draft.id, "kim"),
        lambda: writing.edit(ledger, draft.id, "kim", 0, **FEW),
        lambda: writing.submit(ledger, draft.id, "kim", 0),
        lambda: writing.delete(ledger, draft.id, "kim"),
    ):
        with pytest.raises(NotFound):
            attempt()
    with pytest.raises(Conflict):
        writing.begin(ledger, make_written(id=draft.id, labeler="kim"))


def test_what_is_unfinished_is_not_submitted(ledger: Ledger) -> None:
    draft = begun(ledger, shots=SHOTS[:1])
    with pytest.raises(InvalidRecord, match="at least 2 pairs"):
        writing.submit(ledger, draft.id, "lee", 0)
    assert writing.submitted(ledger) == []


def test_what_is_submitted_waits_and_can_be_taken_back(ledger: Ledger) -> None:
    waits = submitted(ledger)
    assert writing.submitted(ledger) == [waits]
    with pytest.raises(Conflict):
        writing.edit(ledger, waits.id, "lee", waits.revision, **{**FEW, "text": "late"})
    with pytest.raises(Conflict):
        writing.delete(ledger, waits.id, "lee")
    taken = writing.withdraw(ledger, waits.id, "lee", waits.revision)
    assert (taken.state, writing.submitted(ledger)) == ("draft", [])
    with pytest.raises(Conflict, match="you read revision"):
        writing.accept(ledger, waits.id, waits.revision, "olga", "", RULES)


def test_an_accepted_few_shot_prompt_gives_k_prompts_and_k_demonstrations(ledger: Ledger) -> None:
    waits = submitted(ledger, labeler="ada")
    done = writing.accept(ledger, waits.id, waits.revision, "olga", "good", RULES)
    assert (done.state, done.reviewer, done.comment, len(done.prompt_ids)) == ("accepted", "olga", "good", 3)
    kept = [prompts.get(ledger, id) for id in done.prompt_ids]
    assert {(each.author, each.source, each.use_case) for each in kept} == {("ada", "labeler", "open_qa")}
    made = [each for _, each in demonstrations.read(ledger)]
    assert [each.prompt_id for each in made] == done.prompt_ids
    assert [each.response for each in made] == [shot.response for shot in SHOTS]
    wanted = 3 if kept[0].split != "test" else 0
    assert collection.backlog(ledger, "comparison") == wanted
    assert collection.backlog(ledger, "demonstration") == 0, "they bring their demonstration"
    assert writing.submitted(ledger) == []
    assert list(promotion.audit(ledger))[-1].action == "accept prompt"
    # the same word again changes nothing
    assert writing.accept(ledger, waits.id, waits.revision, "olga", "good", RULES) == done
    assert prompts.count(ledger) == demonstrations.count(ledger) == 3
    with pytest.raises(Conflict):
        writing.accept(ledger, waits.id, waits.revision, "oleg", "", RULES)


def test_an_accepted_plain_prompt_waits_for_both(ledger: Ledger) -> None:
    labeler = next(name for name in "abcdefgh" if items(make_written(labeler=name), RULES)[0].prompt.split == "train")
    waits = submitted(ledger, labeler=labeler, **PLAIN)
    writing.accept(ledger, waits.id, waits.revision, "olga", "", RULES)
    assert (collection.backlog(ledger, "comparison"), collection.backlog(ledger, "demonstration")) == (1, 1)
    assert demonstrations.count(ledger) == 0


def test_if_one_item_is_in_the_pool_already_none_enters(ledger: Ledger) -> None:
    waits = submitted(ledger)
    last = items(waits, RULES)[-1]
    prompts.keep(ledger, make_prompt(), last.text, 200)
    with pytest.raises(Conflict, match="item 3"):
        writing.accept(ledger, waits.id, waits.revision, "olga", "", RULES)
    assert (prompts.count(ledger), demonstrations.count(ledger)) == (1, 0)
    assert writing.submitted(ledger) == [waits]


def test_the_same_plain_prompt_is_not_taken_twice_nor_one_that_a_customer_asked(ledger: Ledger) -> None:
    asked = make_prompt("Write a poem about the sea.")
    prompts.keep(ledger, asked, text_of(asked.messages), 200)
    waits = submitted(ledger, **{**PLAIN, "text": "Write a poem about the sea."})
    with pytest.raises(Conflict, match="the pool has such a prompt"):
        writing.accept(ledger, waits.id, waits.revision, "olga", "", RULES)


def test_the_cap_per_customer_holds_for_writers_and_counts_whole_prompts(ledger: Ledger) -> None:
    first = submitted(ledger)
    writing.accept(ledger, first.id, first.revision, "olga", "", Rules(most_per_customer=4))
    other = submitted(ledger, text="Name the river.", shots=[Shot(query=f"{n} x", response="y") for n in range(2)])
    with pytest.raises(Conflict, match="more than 4 prompts"):
        writing.accept(ledger, other.id, other.revision, "olga", "", Rules(most_per_customer=4))
    assert prompts.count(ledger) == 3
    writing.accept(ledger, other.id, other.revision, "olga", "", Rules(most_per_customer=5))
    assert prompts.count(ledger) == 5


def test_the_rules_for_customers_prompts_hold_for_written_ones(ledger: Ledger) -> None:
    waits = submitted(ledger, shots=[*SHOTS, Shot(query="x" * 5000, response="long")])
    with pytest.raises(Conflict, match="the rules for prompts refuse item 1"):
        writing.accept(ledger, waits.id, waits.revision, "olga", "", RULES)
    assert (prompts.count(ledger), writing.submitted(ledger)) == (0, [waits])


def test_what_is_returned_is_changed_and_submitted_again(ledger: Ledger) -> None:
    waits = submitted(ledger)
    with pytest.raises(InvalidRecord, match="say what should change"):
        writing.send_back(ledger, waits.id, waits.revision, "returned", "olga", " ")
    back = writing.send_back(ledger, waits.id, waits.revision, "returned", "olga", "One more pair.")
    assert (back.state, back.comment, writing.submitted(ledger)) == ("returned", "One more pair.", [])
    changed = writing.edit(ledger, back.id, "lee", back.revision, **{**FEW, "text": "Name the country of a city."})
    again = writing.submit(ledger, back.id, "lee", changed.revision)
    assert writing.submitted(ledger) == [again]


def test_what_is_rejected_is_over(ledger: Ledger) -> None:
    waits = submitted(ledger)
    gone = writing.send_back(ledger, waits.id, waits.revision, "rejected", "olga", "")
    assert writing.send_back(ledger, waits.id, waits.revision, "rejected", "olga", "") == gone
    with pytest.raises(Conflict):
        writing.edit(ledger, waits.id, "lee", gone.revision, **{**FEW, "text": "again"})
    with pytest.raises(Conflict):
        writing.send_back(ledger, waits.id, gone.revision, "returned", "olga", "why")
    assert prompts.count(ledger) == 0


def test_a_deleted_draft_leaves_nothing(ledger: Ledger) -> None:
    draft = begun(ledger)
    writing.edit(ledger, draft.id, "lee", 0, **{**FEW, "text": "secret words"})
    writing.delete(ledger, draft.id, "lee")
    with pytest.raises(NotFound):
        writing.get(ledger, draft.id)
    assert writing.history(ledger, draft.id) == writing.written_by(ledger, "lee") == []
    assert not ledger.redis.exists(keys.written_log(draft.id))


def test_who_wrote_a_prompt_is_never_asked_about_it(ledger: Ledger) -> None:
    waits = submitted(ledger, labeler="ada", **PLAIN)
    [id] = writing.accept(ledger, waits.id, waits.revision, "olga", "", RULES).prompt_ids
    prompt = prompts.get(ledger, id)
    demonstrations.request(ledger, prompt)
    planned = comparisons.plan(ledger, prompt, 2)
    comparisons.complete(ledger, planned, [make_completion("Roses."), make_completion("Violets.")])
    for queue, item in ((demonstrations.QUEUE, id), ("training", planned.id)):
        assert leases.lease(ledger, queue, "ada") is None
        lease = leases.lease(ledger, queue, "kim")
        assert lease is not None
        assert lease.item_id == item
