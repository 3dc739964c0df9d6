"""Rows become token ids: rendered like serving, cut at the limits, checked, split without leaks."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from feedback.errors import DataError, InvalidRow
from feedback.snapshots.rows import COMPARISONS, DEMONSTRATIONS, PROMPTS
from trainer.data.reading import (
    BadRows,
    Counts,
    Limits,
    encode_completion,
    held_out,
    read_demonstrations,
    read_preferences,
    read_prompts,
    render,
)
from trainer.models.policies import load_tokenizer

USER = [{"role": "user", "content": "Where does the fox live?"}]
LIMITS = Limits(prompt_tokens=64, completion_tokens=16)


@pytest.fixture(scope="module")
def tokenizer(tiny_policy_dir: Path) -> PreTrainedTokenizerBase:
    return load_tokenizer(tiny_policy_dir)


def write(path: Path, *rows: dict[str, Any]) -> list[Path]:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [path]


def preference(**changes: Any) -> dict[str, Any]:
    row = {
        "id": "p1",
        "messages": USER,
        "responses": [{"text": "In the wood."}, {"text": "Berries.", "finished": False}],
        "comparisons": [{"a": 0, "b": 1, "winner": "a", "annotator": "ann"}],
    }
    return {key: value for key, value in (row | changes).items() if value is not ...}


def test_prompt_is_rendered_as_the_chat_template_says(tokenizer: PreTrainedTokenizerBase) -> None:
    text = tokenizer.apply_chat_template(USER, add_generation_prompt=True, tokenize=False)
    assert render(tokenizer, USER) == tokenizer(text, add_special_tokens=False)["input_ids"]
    assert text.endswith("<|assistant|>")


def test_finished_completion_carries_eos_and_a_cut_one_does_not(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    [group] = read_preferences(write(tmp_path / "a.jsonl", preference()), tokenizer, LIMITS)
    assert group.completions[0][-1] == tokenizer.eos_token_id
    assert tokenizer.eos_token_id not in group.completions[1]
    assert group.finished == [True, False]
    assert group.pairs == [(0, 1)]
    assert group.K == 2


def test_completion_over_the_limit_is_cut_marked_and_counted(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    counts = Counts()
    row = preference(responses=[{"text": "long " * 50}, {"text": "b"}])
    [group] = read_preferences(write(tmp_path / "a.jsonl", row), tokenizer, LIMITS, counts)
    assert len(group.completions[0]) == LIMITS.completion_tokens
    assert group.finished == [False, True]
    assert tokenizer.eos_token_id not in group.completions[0]
    assert counts.cut_completions == 1


def test_prompt_over_the_limit_is_dropped_and_counted(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    counts = Counts()
    rows = [{"id": "a", "prompt": "long " * 100}, {"id": "b", "prompt": "short"}]
    assert [p.id for p in read_prompts(write(tmp_path / "a.jsonl", *rows), tokenizer, LIMITS, counts)] == ["b"]
    assert counts.as_metrics()["long_prompts_dropped"] == 1


def test_eos_spelled_out_by_a_writer_does_not_end_a_completion(tokenizer: PreTrainedTokenizerBase) -> None:
    ids = encode_completion(tokenizer, "a <eos> b")
    assert ids.count(tokenizer.eos_token_id) == 1
    assert tokenizer.decode(ids, skip_special_tokens=True) == "a <eos> b"


def test_prompt_instruction_and_messages_mean_the_same(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    text = USER[0]["content"]
    rows = [{"id": "a", "prompt": text}, {"id": "b", "instruction": text}, {"id": "c", "messages": USER}]
    found = read_prompts(write(tmp_path / "a.jsonl", *rows), tokenizer, LIMITS)
    assert [p.messages for p in found] == [USER] * 3


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"messages": ...}, "no prompt"),
        ({"messages": ..., "prompt": "  "}, "no prompt"),
        ({"messages": ..., "prompt": 3}, "no prompt"),
        ({"messages": []}, "`messages` must be"),
        ({"messages": "hello"}, "`messages` must be"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "whose `role`"),
        ({"messages": [{"role": "user", "content": ""}]}, "`content`"),
        ({"messages": [{"role": "user", "content": None}]}, "`content`"),
        ({"id": ""}, "`id`"),
        ({"id": ["x"]}, "`id`"),
        ({"split": "dev"}, "`split`"),
        ({"split": 1}, "`split`"),
        ({"customer": 7}, "`customer`"),
        ({"labeler_group": True}, "`labeler_group`"),
        ({"responses": ...}, "`responses`"),
        ({"comparisons": [{"a": 0, "b": 9, "winner": "a"}]}, "unknown response"),
        ({"responses": [{"text": "", "finished": False}, {"text": "b"}]}, "has no token"),
    ],
)
def test_bad_preference_row_is_named_or_skipped(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase, changes: dict[str, Any], reason: str
) -> None:
    path = write(tmp_path / "a.jsonl", preference(id="ok"), preference(**changes))
    with pytest.raises(InvalidRow, match=reason) as caught:
        read_preferences(path, tokenizer, LIMITS)
    assert f"{path[0]}:2" in str(caught.value)
    counts = Counts(bad=BadRows(skip=True))
    assert [group.id for group in read_preferences(path, tokenizer, LIMITS, counts)] == ["ok"]
    assert counts.bad.count == 1


def test_completions_that_are_all_the_same_teach_nothing(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    same = preference(responses=[{"text": "b"}, {"text": "b"}])
    with pytest.raises(InvalidRow, match="all completions are the same"):
        read_preferences(write(tmp_path / "a.jsonl", same), tokenizer, LIMITS)


def test_a_judgement_between_two_copies_of_one_text_is_dropped_and_counted(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase
) -> None:
    rows = [{"a": first, "b": second, "winner": "a"} for first, second in ((0, 1), (0, 2), (1, 2))]
    row = preference(responses=[{"text": "b"}, {"text": "b"}, {"text": "c"}], comparisons=rows)
    counts = Counts()
    [group] = read_preferences(write(tmp_path / "a.jsonl", row), tokenizer, LIMITS, counts)
    assert group.pairs == [(0, 2), (1, 2)]
    assert counts.as_metrics()["pairs_of_the_same_text_dropped"] == 1


def test_id_seen_before_is_refused_even_in_another_file(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    paths = write(tmp_path / "a.jsonl", preference()) + write(tmp_path / "b.jsonl", preference())
    with pytest.raises(InvalidRow, match=r"b.jsonl:1: duplicate id"):
        read_preferences(paths, tokenizer, LIMITS)


def test_nothing_usable_is_an_error(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(DataError, match="no usable preferences"):
        read_preferences([tmp_path / "empty.jsonl"], tokenizer, LIMITS)
    with pytest.raises(DataError, match="no file given"):
        read_prompts([], tokenizer, LIMITS)


@pytest.mark.parametrize("response", [None, "", " \n", 3, ["a"]])
def test_demonstration_without_an_answer_is_refused(
    tmp_path: Path, tokenizer: PreTrainedTokenizerBase, response: Any
) -> None:
    with pytest.raises(InvalidRow, match="`response`"):
        read_demonstrations(write(tmp_path / "d.jsonl", {"prompt": "q", "response": response}), tokenizer, LIMITS)


def test_demonstration_ends_in_eos(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    [found] = read_demonstrations(write(tmp_path / "d.jsonl", {"prompt": "q", "response": "yes"}), tokenizer, LIMITS)
    assert found.completion_ids[-1] == tokenizer.eos_token_id
    assert found.finished
    assert found.id == "d.jsonl:1"


def test_template_that_refuses_a_conversation_makes_a_bad_row(tmp_path: Path, tiny_policy_dir: Path) -> None:
    strict = AutoTokenizer.from_pretrained(tiny_policy_dir)
    strict.chat_template = "{{ raise_exception('no system role') }}"
    with pytest.raises(InvalidRow, match="no system role"):
        read_prompts(write(tmp_path / "a.jsonl", {"id": "a", "prompt": "q"}), strict, LIMITS)


def test_hash_split_keeps_a_customer_together_and_holds_out_its_share() -> None:
    messages = [[{"role": "user", "content": f"q{n}"}] for n in range(2000)]
    assert len({held_out(m, "acme", 0.5) for m in messages}) == 1
    share = sum(held_out(m, None, 0.1) for m in messages) / len(messages)
    assert 0.07 < share < 0.13
    assert not any(held_out(m, None, 0.0) for m in messages)


def test_snapshot_tables_are_read_with_their_empty_columns(tmp_path: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    row = {
        "id": "lab_1", "messages": USER, "customer": "", "split": "train", "labeler_group": "held-out",
        "responses": [{"text": "In the wood.", "model": "p-1", "finished": None}, {"text": "b", "finished": False}],
        "comparisons": [{"a": 1, "b": 0, "winner": "b", "annotator": "ann"}], "comparison_id": "cmp_1",
    }  # fmt: skip
    pq.write_table(pa.Table.from_pylist([row], schema=COMPARISONS), tmp_path / "comparisons.parquet")
    shown = {"id": "d", "messages": USER, "response": "In the wood.", "customer": "acme", "split": "valid"}
    pq.write_table(pa.Table.from_pylist([shown], schema=DEMONSTRATIONS), tmp_path / "demonstrations.parquet")
    asked = {"id": "p", "messages": USER, "customer": "acme", "split": "test"}
    pq.write_table(pa.Table.from_pylist([asked], schema=PROMPTS), tmp_path / "prompts.parquet")
    [group] = read_preferences([tmp_path / "comparisons.parquet"], tokenizer, LIMITS)
    assert (group.pairs, group.finished, group.labeler_group, group.customer) == (
        [(0, 1)],
        [True, False],
        "held-out",
        None,
    )
    [demonstration] = read_demonstrations([tmp_path / "demonstrations.parquet"], tokenizer, LIMITS)
    assert demonstration.prompt_ids == group.prompt_ids
    [prompt] = read_prompts([tmp_path / "prompts.parquet"], tokenizer, LIMITS)
    assert (prompt.prompt_ids, prompt.customer, prompt.split) == (group.prompt_ids, "acme", "test")


@pytest.mark.parametrize(
    ("name", "groups"),
    [("pref-qa-feedback-k4", 385), ("pref-hh-harmless", 1726), ("pref-pandalm-3annotators", 736)],
)
def test_real_sets_are_read_whole(
    data_root: Path, stories_dir: Path, name: str, groups: int, recwarn: pytest.WarningsRecorder
) -> None:
    tokenizer = load_tokenizer(stories_dir)
    limits = Limits(prompt_tokens=100_000, completion_tokens=256)
    found = read_preferences([data_root / name / "comparisons.jsonl.gz"], tokenizer, limits)
    assert len(found) == groups
    assert {group.source for group in found} == {name}


def test_a_crowd_whose_single_votes_go_in_circles_is_read_whole(data_root: Path, stories_dir: Path) -> None:
    """Three of the ten rows have a worker whose votes on pairs of some fifty completions go in a circle."""
    path = [data_root / "pref-llmfao-crowd" / "comparisons.jsonl.gz"]
    limits = Limits(prompt_tokens=1024, completion_tokens=100_000)
    with pytest.warns(UserWarning, match="no padding token"):
        tokenizer = load_tokenizer(stories_dir)
    counts = Counts()
    groups = read_preferences(path, tokenizer, limits, counts)
    assert len(groups) == 10
    assert sum(len(group.pairs) + len(group.ties) for group in groups) + counts.same_pairs == 6827
