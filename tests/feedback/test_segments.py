"""A segment tells when a byte of it is not what was written."""

import gzip
import random
from pathlib import Path

import pytest

from feedback import segments
from feedback.errors import ArtifactCorrupt
from feedback.segments import Row

ROWS = [Row("1-0", '{"id":"a"}'), Row("2-0", '{"note":"caf\u00e9 # 1"}'), Row("2-1", "{}")]


def written(directory: Path) -> Path:
    path = segments.path_of(directory, "1-0", "2-1")
    segments.write(path, ROWS, "-")
    return path


def test_rows_and_manifest_come_back(tmp_path: Path) -> None:
    rows, manifest = segments.read(written(tmp_path))
    assert rows == ROWS
    assert manifest is not None
    assert (manifest.count, manifest.after, manifest.last) == (3, "-", "2-1")
    assert segments.span(written(tmp_path)) == ("1-0", "2-1")


def test_an_empty_segment_is_one(tmp_path: Path) -> None:
    path = segments.path_of(tmp_path, "1-0", "2-1")
    segments.write(path, [], "0-5")
    assert segments.read(path)[0] == []


@pytest.mark.parametrize("seed", range(20))
def test_a_changed_bit_is_seen(tmp_path: Path, seed: int) -> None:
    path = written(tmp_path)
    plain = bytearray(gzip.decompress(path.read_bytes()))
    plain[random.Random(seed).randrange(len(plain))] ^= 1
    path.write_bytes(gzip.compress(plain))
    with pytest.raises(ArtifactCorrupt, match=path.name):
        segments.read(path)


def test_a_file_cut_anywhere_is_seen(tmp_path: Path) -> None:
    path = written(tmp_path)
    whole = path.read_bytes()
    plain = gzip.decompress(whole)
    for cut in [*(whole[:at] for at in range(len(whole))), *(gzip.compress(plain[:at]) for at in range(1, len(plain)))]:
        path.write_bytes(cut)
        with pytest.raises(ArtifactCorrupt):
            segments.read(path)


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()).replace(b'{"id":"a"}', b'{"id":"b"}')))
    with pytest.raises(ArtifactCorrupt, match="line 1 is damaged"):
        segments.read(path)


def test_what_earlier_versions_wrote_has_no_entries_and_no_manifest(tmp_path: Path) -> None:
    path = segments.path_of(tmp_path, "1-0", "2-1")
    segments.write(path, ROWS, None)
    assert segments.read(path) == ([Row("", row.record) for row in ROWS], None)
