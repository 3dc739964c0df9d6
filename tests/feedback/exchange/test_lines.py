"""Files of objects: every way in which a line or a file can be wrong, with bounded memory."""

import gzip
import io
import json
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from feedback.errors import DataError
from feedback.exchange import lines
from feedback.exchange.lines import Bad, Found, objects


def read(tmp_path: Path, content: bytes, name: str = "x.jsonl") -> list[Found | Bad]:
    path = tmp_path / name
    path.write_bytes(content)
    return list(objects(path))


def test_lines_keep_their_numbers_and_blank_ones_are_skipped(tmp_path: Path) -> None:
    content = b'\xef\xbb\xbf{"a": 1}\r\n\r\n   \n{"a": "\xf0\x9f\xa6\x8a"}\r\n{"a": 3}'
    assert read(tmp_path, content) == [Found(1, {"a": 1}), Found(4, {"a": "🦊"}), Found(5, {"a": 3})]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"a": }', "not JSON"),
        (b'{"a": 1', "not JSON"),
        (b"[1]", "not a JSON object"),
        (b"null", "not a JSON object"),
        (b'{"a": NaN}', "not JSON"),
        (b'{"a": "\\ud800"}', "not JSON"),
        (b'{"a": "\xff"}', "UTF-8"),
        (b'{"a":' * 5000 + b"1" + b"}" * 5000, "not JSON"),
        (b'{"a": 1} {"b": 2}', "not JSON"),
    ],
)
def test_a_bad_line_is_named_and_hinders_no_other(tmp_path: Path, line: bytes, reason: str) -> None:
    first, bad, last = read(tmp_path, b'{"a": 1}\n' + line + b'\n{"a": 3}\n')
    assert (first, last) == (Found(1, {"a": 1}), Found(3, {"a": 3}))
    assert isinstance(bad, Bad)
    assert bad.number == 2
    assert reason.casefold() in bad.reason.casefold()


def test_a_line_of_100_mib_is_refused_without_being_held(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    with path.open("wb") as file:
        file.write(b'{"a": 1}\n{"a": "')
        for _ in range(100):
            file.write(b"x" * (1 << 20))
        file.write(b'"}\n{"a": 3}\n')
    tracemalloc.start()
    found = list(objects(path))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == [Found(1, {"a": 1}), Bad(2, "longer than 16 MiB"), Found(3, {"a": 3})]
    assert peak_bytes < 4 * lines.MOST_LINE_BYTES


def test_an_array_gives_its_elements(tmp_path: Path) -> None:
    content = json.dumps([{"a": 1}, 5, {"a": [1, {"b": 2}]}]).encode()
    expected = [Found(1, {"a": 1}), Bad(2, "not a JSON object"), Found(3, {"a": [1, {"b": 2}]})]
    assert read(tmp_path, content, "x.json") == expected
    assert read(tmp_path, b"\xef\xbb\xbf \n" + gzip.compress(b"")[:0] + content) == expected
    assert read(tmp_path, gzip.compress(content), "x.gz") == expected


def test_a_broken_or_too_large_array_is_refused_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="no JSON array"):
        read(tmp_path, b'[{"a": 1}, ')
    monkeypatch.setattr(lines, "MOST_ARRAY_BYTES", 10)
    with pytest.raises(DataError, match="write it as JSON lines"):
        read(tmp_path, b'[{"a": 1}, {"a": 2}]')


def test_gzip_is_known_by_its_content(tmp_path: Path) -> None:
    packed = gzip.compress(b'{"a": 1}\n')
    assert read(tmp_path, packed, "x.jsonl") == [Found(1, {"a": 1})]
    with pytest.raises(DataError, match="broken gzip"):
        read(tmp_path, packed[:-6], "cut.gz")
    with pytest.raises(DataError, match="broken gzip"):
        read(tmp_path, packed[:12] + b"\x00" * 8, "torn.gz")


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "ALWAYS_BYTES", 1 << 20)
    bomb = gzip.compress(b" " * (64 << 20) + b"\n{}")
    with pytest.raises(DataError, match="unpacks to more than"):
        read(tmp_path, bomb, "bomb.gz")


def archive(kind: str) -> bytes:
    """Return an archive with a member that climbs out of its directory, and a link."""
    out = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(out, "w") as file:
            file.writestr("../../escape.jsonl", "{}")
        return out.getvalue()
    with tarfile.open(fileobj=out, mode="w:gz" if kind == "tgz" else "w") as file:
        for name, link in (("../../escape.jsonl", ""), ("link", "/etc/passwd")):
            member = tarfile.TarInfo(name)
            if link:
                member.type, member.linkname = tarfile.SYMTYPE, link
            file.addfile(member, io.BytesIO())
    return out.getvalue()


@pytest.mark.parametrize("kind", ["zip", "tar", "tgz"])
def test_archives_are_refused_and_nothing_is_unpacked(tmp_path: Path, kind: str) -> None:
    with pytest.raises(DataError, match="archive; only single files are read"):
        read(tmp_path, archive(kind), f"x.{kind}")
    assert [path.name for path in tmp_path.parent.rglob("escape*")] == []


def test_what_is_no_file_is_said_to_be_none(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(DataError, match="no such file"):
            list(objects(path))


def test_progress_ends_at_the_size_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"a": 1}\n' * 1000)
    seen: list[int] = []
    assert sum(1 for _ in objects(path, seen.append)) == 1000
    assert seen[-1] == path.stat().st_size
    assert seen == sorted(seen)


def test_an_empty_file_holds_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, b"") == []
    assert read(tmp_path, gzip.compress(b"\n\n"), "x.gz") == []
