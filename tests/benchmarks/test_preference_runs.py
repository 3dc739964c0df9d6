"""The trainer's options, the base's name, and who may be trained on what."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks import preference_runs
from benchmarks.preference_runs import PRETRAIN, RECIPES, REWARD, SCORE, SFT, fingerprint, options
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
    for recipe in RECIPES.values():
        PretrainSettings.model_validate({"output": "o", "text": ["t"]} | PRETRAIN | recipe.model)
        assert sum(recipe.limits.values()) <= PRETRAIN["context_tokens"]
    assert all(getattr(made, name) == value for name, value in settings.items())


def test_the_base_is_named_after_its_data_and_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = tmp_path / "text"
    text.write_text("one")
    quick = RECIPES["quick"]
    first = fingerprint(quick, [text])
    assert fingerprint(quick, [text]) == first
    text.write_text("two")
    second = fingerprint(quick, [text])
    monkeypatch.setattr(preference_runs, "PRETRAIN", PRETRAIN | {"lr": 1.0})
    third = fingerprint(quick, [text])
    assert len({first, second, third, fingerprint(RECIPES["full"], [text])}) == 4


def test_no_model_and_no_bag_sees_a_prompt_that_it_is_tested_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, list[str]] = {}

    def stand_in(stage: str, output: Path, settings: dict[str, Any]) -> dict[str, Any]:
        given[stage] = [path.read_text() for path in settings["preferences"]]
        output.mkdir(parents=True)
        (output / "scores.jsonl").write_text('{"id": "1", "rewards": [1.0, 0.0]}\n')
        return {"wall_s": 1.0, "data": {"bad_rows": 0}}

    monkeypatch.setattr(preference_runs, "trainer", stand_in)
    some = rows()
    recipe = RECIPES["quick"]
    folds = deal(some, recipe.folds)
    policy = tmp_path / "base" / "sft"
    for fold in range(recipe.folds):
        found = preference_runs.judge_fold(tmp_path / str(fold), fold, some, folds, policy, recipe)
        assert found["scores"] == {"1": [1.0, 0.0]}
        assert found["train_keys"] | found["test_keys"] == set(folds)
        assert not found["train_keys"] & found["test_keys"]
        for key in found["test_keys"]:
            assert not any(f'"{key}"' in text for text in given["reward"])
            assert any(f'"{key}"' in text for text in given["score"])
        assert len(given["reward"]) == 2
        alone = preference_runs.judge_fold(tmp_path / str(fold), fold, some, folds, policy, recipe, "pref-1")
        assert alone["test_keys"] == found["test_keys"]
        assert len(given["reward"]) == len(given["score"]) == 1
        assert not any(f'"{key}"' in text for key in alone["test_keys"] for text in given["reward"])


def test_a_stage_that_fails_ends_the_bench_with_its_words(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"trainer score ended with 2: .*--no-such"):
        preference_runs.trainer("score", tmp_path / "out", {"no_such": 1})
