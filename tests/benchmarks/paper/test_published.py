"""The paper's figures as they are printed, each with its place, and without those that are known to be wrong."""

import re

from benchmarks.paper import published


def test_every_figure_names_its_section_or_table() -> None:
    groups = [value for name, value in vars(published).items() if name.isupper()]
    figures = [each for group in groups for each in (group.values() if isinstance(group, dict) else group)]
    figures = [each for each in figures if isinstance(each, published.Printed)]
    assert len(figures) >= 20
    for each in figures:
        assert re.fullmatch(r"(\d(\.\d)?|[A-E]\.\d+)(, footnote \d)?|Table \d+", each.where), each


def test_table_14_has_all_columns_and_no_row_of_the_copying_error() -> None:
    rows = [values for by in published.TABLE_14.values() for values in by.values()]
    assert all(len(values) == len(published.TABLE_14_COLUMNS) for values in rows)
    assert len(set(rows)) == len(rows)
    assert not {"CNN/DM", "TL;DR"} & set(published.TABLE_14)


def test_what_is_said_of_table_14_is_in_it() -> None:
    squad = published.TABLE_14["SQuADv2 F1"]["0-shot"]
    assert [f"{squad[place]:g}" for place in (0, 2, 3)] == [each.figure for each in published.TASKS]
    toxicity = published.TABLE_14_TOXICITY["respectful"]
    assert round(100 * (1 - toxicity[3] / toxicity[0])) == 16
    for task in ("DROP F1", "WMT15 Fr-En BLEU"):
        gpt3, _, _, ptx = published.TABLE_14[task]["0-shot"]
        assert ptx < gpt3
