"""Pictures are drawn for what there is, and the same figures give the same bytes."""

from dataclasses import replace
from pathlib import Path

from benchmarks.paper.plots import COLORS, NAMES, PICTURES, draw, file_name
from benchmarks.paper.prose import SECTIONS
from benchmarks.paper.summary import Results


def test_the_same_figures_give_the_same_bytes(made_up_results: Results, tmp_path: Path) -> None:
    (once,), (again,) = (draw(made_up_results, tmp_path / name, ["kwise"]) for name in ("once", "again"))
    assert once.name == again.name == file_name("kwise")
    assert once.read_bytes() == again.read_bytes()
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
