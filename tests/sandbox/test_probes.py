"""What the tiny base model can and cannot do: if one of these fails, the world is too hard for it."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from sandbox.gold import Gold, judge
from sandbox.probes import FAILINGS, minimal_pairs, mixed_comparisons
from sandbox.world import make_prompt, make_unstated_prompt

BASE = Path(__file__).parents[2] / "sandbox" / "base"
LIMITS = ("--max-completion-tokens", "32", "--threads", "1")


def write(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def stage(name: str, output: Path, *options: object) -> None:
    subprocess.run(
        [
            sys.executable,
            "-m",
            "trainer",
            name,
            "--preset",
            "sandbox",
            "--output",
            str(output),
            *LIMITS,
            *map(str, options),
        ],
        check=True,
        cwd=BASE.parents[1],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=600,
    )


def sample(policy: Path, prompts: Sequence[str], directory: Path) -> list[Gold]:
    """Judge one completion of each prompt."""
    rows = write(directory / "prompts.jsonl", ({"id": f"{n}", "prompt": text} for n, text in enumerate(prompts)))
    stage("generate", directory / "completions.jsonl", "--policy", policy, "--prompts", rows, "--no-logprobs")
    with (directory / "completions.jsonl").open() as file:
        answers = [json.loads(line)["completions"][0] for line in file]
    return [judge(prompt, each["text"], each["finished"]) for prompt, each in zip(prompts, answers, strict=True)]


def rate(golds: Sequence[Gold], of: Callable[[Gold], float]) -> float:
    return sum(of(gold) for gold in golds) / len(golds)


@pytest.mark.slow
def test_the_base_has_the_failings_of_a_raw_language_model(tmp_path: Path) -> None:
    rng = random.Random(0)
    golds = sample(BASE, [make_prompt(rng).text for _ in range(400)], tmp_path)
    unstated = sample(BASE, [make_unstated_prompt(rng).text for _ in range(300)], tmp_path)

    rates = {
        "not_following": rate(golds, lambda gold: not gold.follows),
        "rude": rate(golds, lambda gold: gold.rude),
        "not_stopping": rate(golds, lambda gold: not gold.stops),
        "invented": rate(unstated, lambda gold: gold.hallucinated),
        "helpful": rate(golds, lambda gold: gold.helpful),
    }
    print(rates)

    assert rates["not_following"] >= 0.10
    assert rates["rude"] >= 0.08
    assert rates["not_stopping"] >= 0.08
    assert rates["invented"] >= 0.40
    assert 0.25 <= rates["helpful"] <= 0.75, "there is something to build on, and room to improve"


@pytest.mark.slow
def test_a_reward_model_sees_every_failing_when_labels_have_no_noise(tmp_path: Path) -> None:
    comparisons = write(tmp_path / "mixed.jsonl", mixed_comparisons(800, 0))
    stage("reward", tmp_path / "reward", "--policy", BASE, "--preferences", comparisons)
    sets = [write(tmp_path / f"{name}.jsonl", minimal_pairs(name, 150, 1)) for name in FAILINGS]
    stage("score", tmp_path / "score", "--reward-model", tmp_path / "reward", "--preferences", *sets)

    by_set = json.loads((tmp_path / "score" / "metrics.json").read_text())["by_set"]
    accuracies = {name: figures["accuracy"] for name, figures in by_set.items()}
    print(accuracies)

    assert len(accuracies) == len(FAILINGS)
    assert min(accuracies.values()) >= 0.85


@pytest.mark.slow
def test_ppo_on_the_gold_score_itself_improves_it(tmp_path: Path) -> None:
    from trainer.ppo.ppo import run_ppo
    from trainer.settings.ppo import PpoSettings
    from trainer.settings.presets import resolve

    rng = random.Random(2)
    prompts = write(tmp_path / "train.jsonl", ({"id": f"{n}", "prompt": make_prompt(rng).text} for n in range(600)))
    held_out = [make_prompt(rng).text for _ in range(300)]
    before = sample(BASE, held_out, tmp_path)
    given = {"policy": BASE, "prompts": [prompts], "output": tmp_path / "ppo", "episodes": 40 * 64, "threads": 1}

    run_ppo(
        resolve("ppo", PpoSettings, "sandbox", given),
        reward_fn=lambda messages, texts, finished: [
            judge(each[-1]["content"], text, done).score
            for each, text, done in zip(messages, texts, finished, strict=True)
        ],
    )

    after = sample(tmp_path / "ppo", held_out, tmp_path)
    gain = rate(after, lambda gold: gold.score) - rate(before, lambda gold: gold.score)
    print({"gold_before": rate(before, lambda gold: gold.score), "gain": gain})
    assert gain >= 0.3
