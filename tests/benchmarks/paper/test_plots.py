"""Pictures are drawn for what there is, and the same figures give the same bytes."""

from dataclasses import replace
from pathlib import Path

from benchmarks.paper.plots import COLORS, NAMES, PICTURES, draw, file_name
from benchmarks.paper.prose import SECTIONS
from benchmarks.paper.summary import Results


def test_every_finding_has_its_picture(made_up_results: Results, tmp_path: Path) -> None:
    written = draw(made_up_results, tmp_path)
    assert [path.name for path in written] == [file_name(name) for name in SECTIONS]
    assert all(path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 5000 for path in written)
    (again,) = draw(made_up_results, tmp_path / "again", ["kwise"])
    assert again.read_bytes() == (tmp_path / again.name).read_bytes()
    assert str(tmp_path).encode() not in again.read_bytes()


def test_without_results_there_are_no_pictures(tmp_path: Path) -> None:
    assert draw(Results((), {}, {}, {}, {}), tmp_path) == []


def test_one_seed_is_drawn_without_intervals(made_up_results: Results, tmp_path: Path) -> None:
    figures = {
        arm: {name: {"1": by["1"]} for name, by in each.items()} for arm, each in made_up_results.figures.items()
    }
    (written,) = draw(replace(made_up_results, seeds=("1",), figures=figures), tmp_path, ["truth"])
    assert written.is_file()


def test_names_and_colours_are_of_the_same_arms() -> None:
    assert set(NAMES) == set(COLORS)
    assert set(PICTURES) == set(SECTIONS)
