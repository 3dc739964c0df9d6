"""Files of a seed are the same ones every time, and nobody is examined on what was trained on."""

import json
from pathlib import Path

from benchmarks.paper.plan import QUICK
from benchmarks.paper.world import HEADING, World, dialogue, write_rows
from sandbox.world import read_prompt


def test_the_same_seed_gives_the_same_world(tmp_path: Path) -> None:
    one, again, other = (World(tmp_path / name, seed, QUICK) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    for file in ("prompts", "demonstrations", "tasks", "text", "text_test"):
        found = [getattr(world, file).read_text() for world in (one, again, other)]
        assert found[0] == found[1] != found[2], file
    assert one.test == again.test != other.test
    assert one.exercises == again.exercises != other.exercises


def test_sizes_are_as_asked(tmp_path: Path) -> None:
    world = World(tmp_path, 1, QUICK)
    lists = (world.test, world.to_rank, world.to_rank_test, world.unstated, world.stated, world.exercises)
    wanted = [QUICK.test, QUICK.ranked, QUICK.ranked_test, QUICK.unstated, QUICK.stated, QUICK.exercises]
    assert [len(each) for each in lists] == wanted
    assert len(world.demonstrations.read_text().splitlines()) == QUICK.demonstrations


def test_no_held_out_prompt_is_a_training_prompt(tmp_path: Path) -> None:
    world = World(tmp_path, 1, QUICK)
    files = (world.prompts, world.demonstrations)
    trained_on = {json.loads(line)["prompt"] for path in files for line in path.read_text().splitlines()}
    trained_on |= {row["prompt"] for row in world.to_rank}
    held_out = set(world.test) | {row["prompt"] for row in world.to_rank_test}
    assert not held_out & trained_on
    assert {row["split"] for row in world.to_rank_test} == {"test"}


def test_closed_prompts_have_an_answer_or_none(tmp_path: Path) -> None:
    world = World(tmp_path, 1, QUICK)
    stated, unstated = ([read_prompt(text) for text in texts] for texts in (world.stated, world.unstated))
    assert all(task is not None and task.kind == "fact" and not task.unstated for task in stated)
    assert all(task is not None and task.unstated for task in unstated)


def test_rows_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", [{"a": 1}, {"a": 2}])
    assert [json.loads(line) for line in path.read_text().splitlines()] == [{"a": 1}, {"a": 2}]
    assert list(tmp_path.iterdir()) == [path]


def test_every_prompt_stands_under_the_heading_that_no_document_has(tmp_path: Path) -> None:
    world = World(tmp_path, 1, QUICK)
    rows = [
        json.loads(line)
        for path in (world.prompts, world.demonstrations, world.tasks)
        for line in path.read_text().splitlines()
    ]
    assert all(row["messages"] == dialogue(row["prompt"]) for row in rows)
    assert HEADING not in world.text.read_text() + world.text_test.read_text()
