"""Artifacts: whole or absent, and no byte changes unnoticed."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from feedback import artifacts
from feedback.errors import ArtifactCorrupt, ArtifactMissing, Conflict
from tests.builders import make_directory


def test_a_directory_appears_only_when_its_block_has_succeeded(tmp_path: Path) -> None:
    target = tmp_path / "policies" / "policy-0001"
    with artifacts.new_directory(target) as draft:
        (draft / "weights").write_text("w")
        assert not target.exists()
    assert (target / "weights").read_text() == "w"
    assert (target / artifacts.MANIFEST).is_file()


def test_a_block_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    target = tmp_path / "made"

    def fail() -> None:
        with artifacts.new_directory(target) as draft:
            (draft / "half").write_text("h")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_process_killed_half_way_leaves_no_directory_of_that_name(tmp_path: Path) -> None:
    program = (
        "import os, sys, pathlib\n"
        "from feedback import artifacts\n"
        "with artifacts.new_directory(pathlib.Path(sys.argv[1])) as draft:\n"
        "    (draft / 'half').write_text('h')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "made")], timeout=60, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == -9
    assert not (tmp_path / "made").exists()
    make_directory(tmp_path, "made")
    artifacts.verify(tmp_path / "made")


def test_nothing_is_ever_overwritten(tmp_path: Path) -> None:
    make_directory(tmp_path, "made", "first")
    with pytest.raises(Conflict, match="never overwritten"), artifacts.new_directory(tmp_path / "made"):
        pass
    assert (tmp_path / "made" / "model.safetensors").read_text() == "first"


def test_of_twenty_writers_of_one_directory_exactly_one_wins(tmp_path: Path) -> None:
    start = threading.Barrier(20)
    won: list[int] = []

    def write(number: int) -> None:
        try:
            with artifacts.new_directory(tmp_path / "made") as draft:
                (draft / "model.safetensors").write_text(str(number))
                start.wait()
        except Conflict:
            return
        won.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert (tmp_path / "made" / "model.safetensors").read_text() == str(won[0])
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    artifacts.verify(tmp_path / "made")


def test_the_same_files_give_the_same_manifest(tmp_path: Path) -> None:
    assert make_directory(tmp_path, "one") == make_directory(tmp_path, "two")
    assert make_directory(tmp_path, "three", "other weights") != make_directory(tmp_path, "four")


@pytest.mark.parametrize("bit", range(8))
def test_one_flipped_bit_is_noticed(tmp_path: Path, bit: int) -> None:
    make_directory(tmp_path, "made")
    path = tmp_path / "made" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1 << bit
    path.write_bytes(content)
    with pytest.raises(ArtifactCorrupt, match=r"model\.safetensors does not match"):
        artifacts.verify(tmp_path / "made")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    make_directory(tmp_path, "made")
    (tmp_path / "made" / "model.safetensors").unlink()
    with pytest.raises(ArtifactMissing, match=r"model\.safetensors"):
        artifacts.verify(tmp_path / "made")


def test_a_file_that_was_added_later_is_noticed(tmp_path: Path) -> None:
    make_directory(tmp_path, "made")
    (tmp_path / "made" / "model-2.safetensors").write_text("more weights")
    with pytest.raises(ArtifactCorrupt, match=r"model-2\.safetensors is not listed"):
        artifacts.verify(tmp_path / "made")


def test_a_manifest_further_down_is_protected_like_any_file(tmp_path: Path) -> None:
    with artifacts.new_directory(tmp_path / "made") as draft:
        (draft / "inner").mkdir()
        (draft / "inner" / artifacts.MANIFEST).write_text("{}")
    (tmp_path / "made" / "inner" / artifacts.MANIFEST).write_text("[]")
    with pytest.raises(ArtifactCorrupt, match="inner"):
        artifacts.verify(tmp_path / "made")


def test_a_directory_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ArtifactMissing, match="nowhere"):
        artifacts.verify(tmp_path / "nowhere")


def test_a_rewritten_manifest_does_not_match_the_sum_in_the_record(tmp_path: Path) -> None:
    sha256 = make_directory(tmp_path, "made")
    (tmp_path / "made" / "model.safetensors").write_text("other weights")
    artifacts.write_manifest(tmp_path / "made")
    artifacts.verify(tmp_path / "made")
    with pytest.raises(ArtifactCorrupt, match="its record says"):
        artifacts.verify(tmp_path / "made", sha256)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"files": 3}', '{"files": {"a": null}}', "\x00"])
def test_what_is_no_manifest_is_corrupt(tmp_path: Path, text: str) -> None:
    make_directory(tmp_path, "made")
    (tmp_path / "made" / artifacts.MANIFEST).write_text(text)
    with pytest.raises(ArtifactCorrupt, match="is no manifest"):
        artifacts.verify(tmp_path / "made")


def test_the_manifest_gives_size_and_sum_of_each_file(tmp_path: Path) -> None:
    make_directory(tmp_path, "made", "abc")
    listed = json.loads((tmp_path / "made" / artifacts.MANIFEST).read_text())["files"]
    assert listed == {
        "model.safetensors": {
            "bytes": 3,
            "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        }
    }


def test_drafts_of_dead_processes_are_removed_and_nobody_elses(tmp_path: Path) -> None:
    for name in (".snp_1.aa.draft", ".snp_1.bb.draft", ".snp_10.aa.draft"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "half").write_text("h")
    (tmp_path / "snp_1").mkdir()
    artifacts.remove_drafts(tmp_path / "snp_1")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".snp_10.aa.draft", "snp_1"]
