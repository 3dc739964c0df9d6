"""Where a customer's words are, place by place, and how they are taken out of each.

Every function removes what a tombstone covers, may be repeated, and returns how many things it removed. What the words
became (policies) is not undone here; `feedback.erasure` names it.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec

from feedback import archives, demonstration_reviews, keys, reviews, shares
from feedback.client import Ledger, decode, encode
from feedback.curation import prefixes, text_of
from feedback.records import Adjudication, Battle, Comparison, Demonstration, Interaction, Label, Prompt, Rating, Record
from feedback.tombstones import Tombstone

PAGE = 1000
R = TypeVar("R", bound=Record)


def everything(ledger: Ledger, root: Path, mark: Tombstone) -> dict[str, int]:
    """Remove all that a tombstone covers from the ledger and from the archives under ``root``; return kind -> how many.

    In the order in which things are made of each other, so that what is made meanwhile of something is found behind it.
    """
    done = {
        "interactions": interactions(ledger, mark),
        "ratings": ratings(ledger, mark),
        "shares": shares.erase(ledger, mark.customer),
        "battles": battles(ledger, mark),
        "prompts": prompts(ledger, mark),
        "comparisons": comparisons(ledger, mark),
        "demonstrations": demonstrations(ledger, mark),
        "label_notes": label_notes(ledger),
        "reviews": reviewers_words(ledger),
        "archived": archived(ledger, root, mark),
    }
    return {kind: count for kind, count in done.items() if count}


def interactions(ledger: Ledger, mark: Tombstone) -> int:
    """Remove interactions, from the log and under their ids."""
    index = keys.interactions_of(mark.customer)
    with ledger.reach() as client:
        ids = cast(list[str], client.zrangebyscore(index, "-inf", f"{mark.at:.3f}"))
    logged = [
        (entry_id, each.id)
        for entry_id, each in _stream(ledger, keys.INTERACTIONS, Interaction, mark)
        if mark.covers(each.customer, each.created_at)
    ]
    with ledger.reach() as client, client.pipeline(transaction=False) as line:
        for entry_id, _ in logged:
            line.xack(keys.INTERACTIONS, keys.CURATORS, entry_id)
            line.xdel(keys.INTERACTIONS, entry_id)
        line.execute()
        known = sorted(set(ids) | {id for _, id in logged})
        for id in known:
            line.delete(keys.interaction(id))
            line.zrem(index, id)
        gone = cast(list[int], line.execute())[::2]
    return len({id for _, id in logged} | {id for id, count in zip(known, gone, strict=True) if count})


def ratings(ledger: Ledger, mark: Tombstone) -> int:
    """Remove what the customer said of answers."""
    found = [
        (entry_id, keys.rating(each.id))
        for entry_id, each in _stream(ledger, keys.RATINGS, Rating, mark)
        if mark.covers(each.customer, each.created_at)
    ]
    with ledger.reach() as client, client.pipeline(transaction=False) as line:
        for entry_id, key in found:
            line.xdel(keys.RATINGS, entry_id)
            line.delete(key)
        line.execute()
    return len(found)


def prompts(ledger: Ledger, mark: Tombstone) -> int:
    """Remove curated prompts, their beginnings, and the requests for demonstrations of them."""
    with ledger.reach() as client:
        rows = cast(Iterator[tuple[str, str]], client.hscan_iter(keys.PROMPTS, count=PAGE))
        found = [decode(text, Prompt) for _, text in rows if _names(text, mark)]
    doomed = [each for each in found if mark.covers_derived(each.customer, each.created_at)]
    for prompt in doomed:
        _erase_item(ledger, prompt.id)
        with ledger.reach() as client:
            with client.pipeline(transaction=True) as move:
                move.hdel(keys.PROMPTS, prompt.id)
                move.zrem(keys.PROMPT_BEGINNINGS, prefixes.entry(text_of(prompt.messages), prompt.id))
                move.zrem(keys.wanting("comparison"), prompt.id)
                move.zrem(keys.wanting("demonstration"), prompt.id)
                move.hincrby(keys.PROMPT_CUSTOMERS, prompt.customer, -1)
                left = cast(list[Any], move.execute())[-1]
            if int(left) <= 0:
                client.hdel(keys.PROMPT_CUSTOMERS, prompt.customer)
    return len(doomed)


def comparisons(ledger: Ledger, mark: Tombstone) -> int:
    """Remove comparisons, planned, open or labelled, and everything that queues or leases them."""
    found = _records(ledger, keys.comparison("*"), Comparison, mark)
    doomed = [each.id for each in found if mark.covers_derived(each.customer, each.created_at)]
    return sum(_erase_item(ledger, id) for id in doomed)


def battles(ledger: Ledger, mark: Tombstone) -> int:
    """End battles that were begun and not voted on."""
    found = _records(ledger, keys.battle("*"), Battle, mark)
    with ledger.reach() as client:
        return sum(
            int(client.delete(keys.battle(each.id))) for each in found if mark.covers(each.customer, each.created_at)
        )


def demonstrations(ledger: Ledger, mark: Tombstone) -> int:
    """Remove labelers' answers to the customer's prompts; each holds the prompt too."""
    found = [
        entry_id
        for entry_id, each in _stream(ledger, keys.DEMONSTRATIONS, Demonstration, mark)
        if mark.covers_derived(each.customer, each.created_at)
    ]
    with ledger.reach() as client:
        return int(client.xdel(keys.DEMONSTRATIONS, *found)) if found else 0


def label_notes(ledger: Ledger) -> int:
    """Take the notes off labels of erased comparisons, in which a labeler may have quoted.

    Labels themselves stay: they hold ids and a ranking, and snapshots leave them out as ``erased``. An entry of a
    stream cannot be changed, so such a label is appended again without its note, in one move with the deletion.
    """
    with ledger.reach() as client:
        erased = cast(set[str], client.smembers(keys.ERASED_COMPARISONS))
    if not erased:
        return 0
    quoting = [
        (entry_id, label)
        for entry_id, label in ledger.stream(keys.LABELS, Label)
        if label.note and label.comparison_id in erased
    ]
    for entry_id, label in quoting:
        with ledger.reach() as client, client.pipeline(transaction=True) as move:
            move.xdel(keys.LABELS, entry_id)
            move.xadd(keys.LABELS, {"record": encode(msgspec.structs.replace(label, note=""))})
            move.execute()
    return len(quoting)


def reviewers_words(ledger: Ledger) -> int:
    """Remove what reviewers said of erased comparisons and demonstrations, in which they may have quoted."""
    with ledger.reach() as client:
        erased = cast(set[str], client.smembers(keys.ERASED_COMPARISONS))
    return reviews.forget_notes(ledger, erased) + demonstration_reviews.forget(ledger)


def archived(ledger: Ledger, root: Path, mark: Tombstone) -> int:
    """Remove the same from the archive's segments."""
    with ledger.reach() as client:
        erased = cast(set[str], client.smembers(keys.ERASED_COMPARISONS))

    def without_note(kind: type[Label | Adjudication]) -> archives.Keep:
        def keep(row: str) -> str | None:
            found = decode(row, kind)
            quotes = found.note and found.comparison_id in erased
            return encode(msgspec.structs.replace(found, note="")) if quotes else row

        return keep

    def of(kind: type[Interaction | Demonstration | Comparison], covers: Callable[..., bool]) -> archives.Keep:
        def keep(row: str) -> str | None:
            if not _names(row, mark):
                return row
            found = decode(row, kind)
            return None if covers(found.customer, found.created_at) else row

        return keep

    rules: dict[str, archives.Keep] = {
        "interactions": of(Interaction, mark.covers),
        "demonstrations": of(Demonstration, mark.covers_derived),
        "comparisons": of(Comparison, mark.covers_derived),
        "labels": without_note(Label),
        "adjudications": without_note(Adjudication),
    }
    return sum(archives.rewrite(root / "archive" / name, keep) for name, keep in rules.items())


def _erase_item(ledger: Ledger, id: str) -> int:
    with ledger.reach() as client:
        client.hdel(keys.GOLD, id)  # its explanation may quote
    places = [keys.comparison(id), keys.item(id), keys.lease(id), keys.LEASES, keys.SAMPLING, keys.SAMPLING_ATTEMPTS]
    return int(ledger.run("erase_item", [*places, keys.ERASED_COMPARISONS, keys.SAMPLING_CLAIMS, keys.skips(id)], [id]))


def _stream(ledger: Ledger, key: str, kind: type[R], mark: Tombstone) -> Iterator[tuple[str, R]]:
    """Yield (entry id, record) of those entries that name the customer."""
    start = "-"
    while True:
        with ledger.reach() as client:
            entries = cast(list[tuple[str, dict[str, str]]], client.xrange(key, start, "+", PAGE))
        for entry_id, fields in entries:
            if _names(fields["record"], mark):
                yield entry_id, decode(fields["record"], kind)
        if len(entries) < PAGE:
            return
        start = f"({entries[-1][0]}"


def _records(ledger: Ledger, pattern: str, kind: type[R], mark: Tombstone) -> list[R]:
    """Return the records under keys like ``pattern`` that name the customer."""
    found: list[R] = []
    with ledger.reach() as client:
        names: list[str] = []
        for name in client.scan_iter(match=pattern, count=PAGE, _type="string"):
            names.append(name)
            if len(names) == PAGE:
                found += _named(client.mget(names), kind, mark)
                names = []
        found += _named(client.mget(names), kind, mark) if names else []
    return found


def _named(texts: list[str | None], kind: type[R], mark: Tombstone) -> list[R]:
    return [decode(text, kind) for text in texts if text is not None and _names(text, mark)]


def _names(text: str, mark: Tombstone) -> bool:
    """Tell whether a record's JSON may be of this customer; far cheaper than reading it."""
    return f'"customer":{msgspec.json.encode(mark.customer).decode()}' in text
