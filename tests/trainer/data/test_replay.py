"""Replay: fresh labels once, old ones in proportion to their strata, least used first, never beyond the budget."""

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from feedback.errors import ArtifactCorrupt, ArtifactMissing
from trainer.data.batches import EpochOrder
from trainer.data.examples import PreferenceGroup
from trainer.data.replay import USES_FILE, Usage, label_key, merge_labels, passes, rows_of, select, shares


def group(number: int, size: int = 2, **changes: object) -> PreferenceGroup:
    made = PreferenceGroup(
        id=f"lbl_{number}",
        messages=[{"role": "user", "content": f"prompt {number}"}],
        prompt_ids=[1, number],
        completions=[[n + 3, 2] for n in range(size)],
        finished=[True] * size,
        pairs=[(0, 1)],
        labeler_group="training",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def ids(groups: list[PreferenceGroup]) -> list[str]:
    return [each.id for each in groups]


def test_every_fresh_comparison_is_taken_and_a_quarter_as_many_old_ones() -> None:
    old, new = [group(n) for n in range(40)], [group(n) for n in range(40, 60)]
    usage = Usage().after({label_key(each): 1 for each in old})
    chosen = select(old + new, usage, ratio=0.25, max_uses=4, seed=0)
    assert ids(chosen.groups[: chosen.fresh]) == ids(new)
    assert len(chosen.groups) - chosen.fresh == 5
    assert set(ids(chosen.groups[20:])) <= set(ids(old))
    assert select(old, usage, ratio=0.25, max_uses=4, seed=0).groups == []


def test_ten_rounds_never_use_a_label_more_often_than_its_budget() -> None:
    rng = random.Random(0)
    everything: list[PreferenceGroup] = []
    usage, counted = Usage(), Counter[str]()
    for number in range(10):
        everything += [group(100 * number + n, rng.randint(2, 5)) for n in range(10 if number < 5 else 2)]
        chosen = select(everything, usage, ratio=4.0, max_uses=3, seed=7)
        order = EpochOrder(len(chosen.groups), 4, 7)
        done = passes(chosen.groups, order, order.batches_per_epoch)
        counted.update(done)
        assert chosen.fresh == (10 if number < 5 else 2)
        assert set(done.values()) == {1}, "one pass each"
        usage = usage.after(done)
        assert usage.uses == counted
        assert max(usage.uses.values()) <= 3
    assert max(usage.uses.values()) == 3, "the budget was reached, or this proves nothing"
    assert set(usage.first_used.values()) == set(range(1, 11))


def test_what_is_used_up_is_counted_and_left_alone() -> None:
    old = [group(n) for n in range(6)]
    usage = Usage({label_key(each): 4 if n < 4 else 1 for n, each in enumerate(old)}, {})
    chosen = select([*old, group(9)], usage, ratio=10.0, max_uses=4, seed=0)
    assert set(ids(chosen.groups)) == {"lbl_4", "lbl_5", "lbl_9"}
    assert chosen.exhausted == 4


def test_strata_are_drawn_in_proportion_to_their_size() -> None:
    first = [group(n, 4) for n in range(60)] + [group(n, 9) for n in range(60, 80)]
    second = [group(n, 4) for n in range(80, 100)]
    usage = Usage().after({label_key(each): 1 for each in first})
    usage = usage.after({label_key(each): 1 for each in second})
    new = [group(n) for n in range(100, 140)]
    for seed in range(5):
        drawn = select(first + second + new, usage, ratio=0.5, max_uses=4, seed=seed).groups[40:]
        assert Counter((each.K, each in second) for each in drawn) == {(4, False): 12, (9, False): 4, (4, True): 4}


def test_those_used_least_come_first() -> None:
    old = [group(n) for n in range(10)]
    uses = {label_key(each): 1 + n % 2 for n, each in enumerate(old)}
    chosen = select([*old, *(group(n) for n in range(20, 25))], Usage(uses, {}), ratio=1.0, max_uses=9, seed=3)
    assert {each.id for each in chosen.groups[5:]} == {f"lbl_{n}" for n in range(0, 10, 2)}


def test_the_sample_depends_on_seed_and_groups_and_not_on_their_order() -> None:
    old = [group(n, 2 + n % 3) for n in range(50)]
    usage = Usage().after({label_key(each): 1 for each in old})
    new = [group(n) for n in range(60, 80)]

    def drawn(groups: list[PreferenceGroup], seed: int) -> list[str]:
        return ids(select([*groups, *new], usage, ratio=0.5, max_uses=4, seed=seed).groups[20:])

    assert drawn(old, 0) == drawn(old[::-1], 0)
    assert drawn(old, 0) != drawn(old, 1)


def test_a_second_labeler_makes_a_seen_comparison_fresh_and_a_spent_label_is_left_out() -> None:
    ann = group(1)
    bob = replace(ann, id="lbl_bob", pairs=[(1, 0)])
    usage = Usage({label_key(ann): 1}, {label_key(ann): 1})
    (merged,) = merge_labels([ann, bob])
    assert rows_of(merged) == (ann, bob)
    chosen = select([merged], usage, ratio=0.0, max_uses=4, seed=0)
    assert (chosen.fresh, chosen.groups[0].pairs) == (1, [(0, 1), (1, 0)])
    assert set(passes(chosen.groups, EpochOrder(1, 1, 0), 1)) == {label_key(ann), label_key(bob)}
    spent = Usage({label_key(ann): 4}, {label_key(ann): 1})
    assert select([merged], spent, ratio=0.0, max_uses=4, seed=0).groups[0].pairs == [(1, 0)]


def test_a_corrected_row_is_a_fresh_label() -> None:
    row = group(1)
    keys = {label_key(each) for each in (row, replace(row, pairs=[(1, 0)]), replace(row, ties=[(0, 1)]))}
    assert len(keys) == 3
    assert label_key(row) == label_key(replace(row, completions=[[9], [9]], split="train"))


def test_passes_count_what_was_really_used() -> None:
    groups = [group(n) for n in range(5)]
    order = EpochOrder(5, 2, 0)
    assert sum(passes(groups, order, 2).values()) == 4
    assert set(passes(groups, order, 6).values()) == {2}
    assert order.cursor == 0


def test_uses_are_written_and_read_back(tmp_path: Path) -> None:
    usage = Usage().after({"b": 1, "a": 2}).after({"a": 1, "c": 1, "d": 0})
    usage.save(tmp_path)
    assert Usage.load(tmp_path) == usage == Usage({"a": 3, "b": 1, "c": 1}, {"a": 1, "b": 1, "c": 2})
    (tmp_path / USES_FILE).write_text("{")
    with pytest.raises(ArtifactCorrupt, match="unreadable"):
        Usage.load(tmp_path)
    with pytest.raises(ArtifactMissing, match="train it anew"):
        Usage.load(tmp_path / "none")


@pytest.mark.parametrize(("sizes", "count"), [([3, 3, 3], 4), ([1, 1, 1, 97], 25), ([5], 5), ([2, 7], 0), ([], 0)])
def test_shares_add_up_and_fit(sizes: list[int], count: int) -> None:
    found = shares(sizes, count)
    assert sum(found) == count
    total = max(sum(sizes), 1)
    for size, share in zip(sizes, found, strict=True):
        assert share <= size
        assert abs(share - size * count / total) < 1


def test_labels_of_one_comparison_are_one_batch_element() -> None:
    first = group(1, ties=[(1, 0)])
    second = replace(first, id="2", pairs=[(1, 0)], ties=[(0, 1), (1, 0)])
    held = replace(first, id="3", labeler_group="held-out")
    other = group(4)
    merged = merge_labels([first, second, held, other])
    assert [(each.id, each.pairs, len(each.ties)) for each in merged] == [
        ("lbl_1", [(0, 1), (1, 0)], 3),
        ("3", [(0, 1)], 1),
        ("lbl_4", [(0, 1)], 0),
    ]
    assert [len(rows_of(each)) for each in merged] == [2, 1, 1]
