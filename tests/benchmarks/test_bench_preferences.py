"""The bench's own rules: the trainer's options, who may train on what, and the table."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks import bench_preferences
from benchmarks.bench_preferences import FOLDS, PRETRAIN, REWARD, SCORE, SFT, bags, by_set, options, recipe, table
from benchmarks.preference_sets import Row, deal
from trainer.settings.stages import PretrainSettings, RewardSettings, ScoreSettings, SftSettings


def rows() -> list[Row]:
    return [
        Row(
            set=f"pref-{n % 2}", id=f"{n}", key=f"k{n // 2}", messages=[{"role": "user", "content": f"k{n // 2}"}],
            texts=["good good answer", "bad"], comparisons=[{"a": 0, "b": 1, "winner": "a", "annotator": None}],
        )
        for n in range(40)
    ]  # fmt: skip


def test_settings_become_options() -> None:
    found = options({"batch_size": 8, "tied": True, "bos": False, "text": [Path("a"), Path("b")]})
    assert found == ["--batch-size", "8", "--tied", "--no-bos", "--text", "a", "b"]


@pytest.mark.parametrize(
    ("kind", "settings", "paths"),
    [
        (PretrainSettings, PRETRAIN, {"text": ["t"]}),
        (SftSettings, SFT, {"policy": "p", "demonstrations": ["d"]}),
        (RewardSettings, REWARD, {"policy": "p", "preferences": ["r"]}),
        (ScoreSettings, SCORE, {"reward_model": "m", "preferences": ["r"]}),
    ],
)
def test_the_trainer_has_these_options(kind: Any, settings: dict[str, Any], paths: dict[str, Any]) -> None:
    made = kind.model_validate({"output": "o"} | settings | paths)
    assert all(getattr(made, name) == value for name, value in settings.items())


def test_the_base_is_named_after_its_data_and_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = tmp_path / "text"
    text.write_text("one")
    first = recipe([text])
    assert recipe([text]) == first
    text.write_text("two")
    second = recipe([text])
    monkeypatch.setattr(bench_preferences, "PRETRAIN", PRETRAIN | {"lr": 1.0})
    assert len({first, second, recipe([text])}) == 3


def test_no_model_and_no_bag_sees_a_prompt_that_it_is_tested_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, list[str]] = {}

    def stand_in(stage: str, output: Path, settings: dict[str, Any]) -> dict[str, Any]:
        given[stage] = [path.read_text() for path in settings["preferences"]]
        output.mkdir(parents=True)
        (output / "scores.jsonl").write_text('{"id": "1", "rewards": [1.0, 0.0]}\n')
        return {"wall_s": 1.0, "data": {"bad_rows": 0}}

    monkeypatch.setattr(bench_preferences, "trainer", stand_in)
    some = rows()
    folds = deal(some, FOLDS)
    policy = tmp_path / "base" / "sft"
    for fold in range(FOLDS):
        found = bench_preferences.judge_fold(tmp_path / str(fold), fold, some, folds, policy)
        assert found["scores"] == {"1": [1.0, 0.0]}
        assert found["train_keys"] | found["test_keys"] == set(folds)
        assert not found["train_keys"] & found["test_keys"]
        for key in found["test_keys"]:
            assert not any(f'"{key}"' in text for text in given["reward"])
            assert any(f'"{key}"' in text for text in given["score"])
    assert set(bags(some, folds)) == {row.id for row in some}


def test_the_table_has_a_line_a_set() -> None:
    some = rows()
    wrong = {row.id: [0.0, 1.0] for row in some}
    found = by_set(some, wrong, {row.id: [1.0, 0.0] for row in some})
    assert found["pref-0"]["model"]["value"] == 0.0
    assert found["pref-0"]["bag_of_words"]["value"] == found["pref-0"]["longer"]["value"] == 1.0
    assert found["pref-1"]["model-longer"]["value"] == -1.0
    assert [line.split()[0] for line in table(found).splitlines()] == ["set", "pref-0", "pref-1"]


def test_a_stage_that_fails_ends_the_bench_with_its_words(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"trainer score ended with 2: .*--no-such"):
        bench_preferences.trainer("score", tmp_path / "out", {"no_such": 1})
