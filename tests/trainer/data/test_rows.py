"""Files of every kind give the same rows; bad ones are named or counted."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feedback.errors import DataError, InvalidRow
from trainer.data.rows import BadRows, Row, Unusable, parse_rows, read_rows

ROWS = [{"id": "a", "responses": [{"text": "ü"}, {"text": "b"}]}, {"id": "b", "responses": [{"text": "c\u2028d"}]}]


def as_jsonl(rows: list[dict]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def test_jsonl_gzip_and_parquet_give_the_same_rows(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(as_jsonl(ROWS))
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(as_jsonl(ROWS)))
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "rows.parquet")
    assert [list(read_rows(tmp_path / f"rows.{kind}")) for kind in ("jsonl", "jsonl.gz", "parquet")] == [ROWS] * 3


def test_text_is_one_document_a_line_and_blank_lines_are_none(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("one\n\n  \ntwo\r\n")
    assert list(read_rows(tmp_path / "t.txt")) == [{"text": "one"}, {"text": "two"}]


def test_byte_order_mark_is_no_part_of_the_first_row(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"\xef\xbb\xbf" + as_jsonl(ROWS))
    assert list(read_rows(tmp_path / "a.jsonl")) == ROWS


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"id": ', "not JSON"),
        (b"[1, 2]", "not a JSON object: list"),
        (b'"text"', "not a JSON object: str"),
        (b'{"id": "\xff"}', "not UTF-8"),
        (b'{"id": "\\ud800"}', "not Unicode"),
        (b"[" * 100_000, "not JSON"),
    ],
)
def test_unreadable_line_is_named_with_file_line_and_reason(tmp_path: Path, line: bytes, reason: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"id": "ok"}\n' + line + b"\n")
    with pytest.raises(InvalidRow) as caught:
        list(read_rows(path))
    assert str(caught.value).startswith(f"{path}:2: {reason}")
    bad = BadRows(skip=True)
    assert list(read_rows(path, bad)) == [{"id": "ok"}]
    assert bad.count == 1
    assert bad.examples[0].startswith(f"{path}:2: {reason}")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl.gz", gzip.compress(as_jsonl(ROWS) * 100)[:-20]),
        ("a.jsonl.gz", b"not gzip at all"),
        ("a.parquet", b"PAR1 or so"),
        ("a.csv", b"id,text"),
    ],
)
def test_broken_or_unknown_file_is_refused_by_name(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=name):
        list(read_rows(tmp_path / name))


@pytest.mark.parametrize("name", ["missing.jsonl", "."])
def test_missing_file_or_directory_is_refused_by_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="no such file"):
        list(read_rows(tmp_path / name))


def test_row_that_cannot_be_parsed_is_counted_by_reason_without_its_details(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"n": 1}\n{"n": -2}\n{"n": -3}\n')

    def parse(row: Row) -> int:
        if row.fields["n"] < 0:
            raise Unusable(f"negative: {row.fields['n']}")
        return int(row.fields["n"])

    bad = BadRows(skip=True)
    assert list(parse_rows(tmp_path / "a.jsonl", bad, parse)) == [1]
    assert dict(bad.reasons) == {"negative": 2}
    with pytest.raises(InvalidRow, match=r"negative: -2.*--skip-bad"):
        list(parse_rows(tmp_path / "a.jsonl", BadRows(), parse))


def write(path: Path, *numbers: int) -> Path:
    path.write_text("".join(json.dumps({"n": number}) + "\n" for number in numbers))
    return path


def positive(row: Row) -> int:
    if row.fields["n"] < 0:
        raise Unusable(f"negative: {row.fields['n']}")
    return int(row.fields["n"])


def test_rows_that_are_set_aside_are_listed_with_file_line_and_reason(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", 1, -2, 3, -4)
    with path.open("ab") as file:
        file.write(b"\xff\n\n")
    for _ in range(2):  # a run that is started again lists each row once
        bad = BadRows(skip=True, quarantine=tmp_path / "quarantine.jsonl", max_share=0.6)
        assert list(parse_rows(path, bad, positive)) == [1, 3]
        bad.settle("numbers")
    assert (bad.seen, bad.count) == (5, 3)
    listed = [json.loads(line) for line in (tmp_path / "quarantine.jsonl").read_text().splitlines()]
    assert listed == [
        {"file": str(path), "line": 2, "reason": "negative: -2"},
        {"file": str(path), "line": 4, "reason": "negative: -4"},
        {"file": str(path), "line": 5, "reason": "not UTF-8: byte 0 of the line"},
    ]


def test_more_than_the_allowed_share_is_refused_and_each_kind_counts_by_itself(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a.jsonl", *range(99), -1), write(tmp_path / "b.jsonl", *range(48), -5, -6)
    bad = BadRows(skip=True, quarantine=tmp_path / "quarantine.jsonl", max_share=0.01)
    list(parse_rows(first, bad, positive))
    bad.settle("numbers")
    list(parse_rows(second, bad, positive))
    with pytest.raises(DataError, match=r"2 of 50 rows of others are unusable, listed in .* --max-bad-share 0.01"):
        bad.settle("others")
    assert len((tmp_path / "quarantine.jsonl").read_text().splitlines()) == 3


def test_nothing_bad_leaves_no_quarantine(tmp_path: Path) -> None:
    bad = BadRows(skip=True, quarantine=tmp_path / "quarantine.jsonl", max_share=0.0)
    list(parse_rows(write(tmp_path / "a.jsonl", 1, 2), bad, positive))
    bad.settle("numbers")
    assert not (tmp_path / "quarantine.jsonl").exists()
