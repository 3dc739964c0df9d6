"""What is put aside is bounded, private, and leaves with its age or its customer."""

import stat
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from serve.recording.refused import FILE, MAX_BYTES, Refused

DAY_S = 86_400.0


def lines(directory: Path) -> list[list[bytes]]:
    return [line.split(b"\t") for line in (directory / FILE).read_bytes().splitlines()]


def test_a_record_is_one_line_whatever_is_in_it(tmp_path: Path) -> None:
    refused = Refused(tmp_path, DAY_S, time.time)
    assert refused.add("a", "two\nlines\tand a tab", b"raw \n bytes \xff")
    assert refused.add("b", "other", b"{}")
    assert lines(tmp_path) == [[b"a", b"two lines and a tab", b"raw   bytes \xff"], [b"b", b"other", b"{}"]]
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


def test_it_is_bounded(tmp_path: Path) -> None:
    refused = Refused(tmp_path, DAY_S, time.time)
    assert refused.add("a", "large", b"x" * (MAX_BYTES // 2))
    assert not refused.add("b", "large", b"x" * (MAX_BYTES // 2))
    assert refused.add("c", "small", b"x")
    assert (tmp_path / FILE).stat().st_size <= MAX_BYTES


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("text")
    (tmp_path / FILE).symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic"):
        Refused(tmp_path, DAY_S, time.time).add("a", "reason", b"x")
    assert (tmp_path / "precious").read_text() == "text"


def test_it_is_deleted_when_it_is_old(tmp_path: Path) -> None:
    Refused(tmp_path, DAY_S, time.time).add("a", "reason", b"x")
    Refused(tmp_path, DAY_S, lambda: time.time() + DAY_S - 60).tidy(list)
    assert (tmp_path / FILE).exists()
    Refused(tmp_path, DAY_S, lambda: time.time() + DAY_S + 60).tidy(list)
    assert not (tmp_path / FILE).exists()


def test_an_erased_customers_records_leave_and_the_age_of_the_others_stays(tmp_path: Path) -> None:
    refused = Refused(tmp_path, DAY_S, time.time)
    for name in ("acme", "other", "acme2"):
        refused.add(name, "reason", b'{"customer":"%s"}' % name.encode())
    before = (tmp_path / FILE).stat().st_mtime
    refused.tidy(lambda: ["acme"])
    assert [line[0] for line in lines(tmp_path)] == [b"other", b"acme2"]
    assert (tmp_path / FILE).stat().st_mtime == before
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_without_a_file_nobody_is_asked(tmp_path: Path) -> None:
    def fail() -> Iterable[str]:
        raise AssertionError("asked")

    Refused(tmp_path, DAY_S, time.time).tidy(fail)
