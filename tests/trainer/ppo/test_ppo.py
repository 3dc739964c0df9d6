"""The PPO loop end to end: it learns, counts, stops, resumes in the same bits."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from feedback.errors import Diverged
from trainer.models.policies import load_policy
from trainer.ppo.job import build_job
from trainer.ppo.ppo import iterate, run_ppo
from trainer.settings.ppo import PpoSettings

REPOSITORY = Path(__file__).parents[3]
DATA = Path(os.environ.get("WHETSTONE_DATA", REPOSITORY / "../shared/data"))
SMALL = {
    "batch_size": 16, "minibatches": 4, "episodes": 48, "max_completion_tokens": 10, "lr": 1e-3, "value_lr": 1e-3,
    "ptx_block_tokens": 32, "ptx_per_episode": 2.0, "ptx_coef": 1.0, "threads": 1, "seed": 3, "device": "cpu",
    "warmup_iterations": 2,
}  # fmt: skip


@pytest.fixture
def small(tiny_policy_dir: Path, prompt_file: Path, text_file: Path, tmp_path: Path) -> dict[str, object]:
    return SMALL | {
        "output": tmp_path / "out", "policy": tiny_policy_dir, "prompts": [prompt_file], "pretraining": [text_file],
    }  # fmt: skip


def likes_e(messages: Sequence[object], texts: Sequence[str], finished: Sequence[bool]) -> list[float]:
    """A gold rule: the share of e in the answer, and one for stopping."""
    return [10 * text.count("e") / (1 + len(text)) + end for text, end in zip(texts, finished, strict=True)]


def weights_hash(path: Path) -> str:
    return hashlib.sha256((path / "model.safetensors").read_bytes()).hexdigest()


def test_gold_reward_rises_and_the_result_is_a_whole_policy(small: dict[str, object]) -> None:
    chosen = {"lr": 3e-3, "value_lr": 3e-3, "episodes": 18 * 32, "batch_size": 32, "ema_decay": 0.5}
    chosen["guard_patience"] = 1000  # a liking for one letter is a hack, and here it is to be learned
    settings = PpoSettings.model_validate(small | chosen)
    metrics = run_ppo(settings, reward_fn=likes_e)
    assert metrics["last"]["objective/scores"] > metrics["first"]["objective/scores"] + 1.0
    assert metrics["iterations"] == 18
    assert metrics["stopped"] is None
    for name in ("config.json", "tokenizer.json", "manifest.json", "metrics.json", "metrics.jsonl"):
        assert (settings.output / name).is_file(), name
    assert load_policy(settings.output).config.vocab_size == load_policy(settings.policy).config.vocab_size
    assert len((settings.output / "metrics.jsonl").read_text().splitlines()) == 18


def test_a_conditioned_policy_moves_to_the_taste_of_each_group_that_it_is_asked_for(
    small: dict[str, object], tmp_path: Path
) -> None:
    (tmp_path / "p.jsonl").write_text("".join(json.dumps({"id": f"q{n}", "prompt": "Fox?"}) + "\n" for n in range(200)))
    scores: dict[str, list[float]] = {"For friends.": [], "For foes.": []}

    def by_group(messages: Sequence[object], texts: Sequence[str], finished: Sequence[bool]) -> list[float]:
        names = [conversation[0]["content"] for conversation in messages]  # type: ignore[index]
        found = [10 * (text.count("e") - text.count("a")) / (1 + len(text)) for text in texts]
        for name, score in zip(names, found, strict=True):
            scores[name].append(score)
        return [score if name == "For friends." else -score for name, score in zip(names, found, strict=True)]

    chosen = {
        "lr": 3e-3, "value_lr": 3e-3, "episodes": 36 * 32, "batch_size": 32, "pretraining": [],
        "prompts": [tmp_path / "p.jsonl"], "condition_on": ["friends", "foes"], "kl_coef": 0.005,
        "max_unjudged_pay": 1e6,  # the taste of each group is a letter: what is to be learned looks like a hack
    }  # fmt: skip
    run_ppo(PpoSettings.model_validate(small | chosen), reward_fn=by_group)
    friends, foes = scores.values()

    def mean(some: Sequence[float]) -> float:
        return sum(some) / len(some)

    assert abs(mean(friends[:60]) - mean(foes[:60])) < 0.5, "at first it answers both alike"
    assert mean(friends[-60:]) > mean(friends[:60]) + 1.0
    assert mean(foes[-60:]) < mean(foes[:60])


def test_the_first_iteration_has_no_kl_and_ratio_one_and_the_reference_never_moves(
    small: dict[str, object], tiny_reward_dir: Path
) -> None:
    before = weights_hash(Path(str(small["policy"])))
    settings = PpoSettings.model_validate(small | {"reward": tiny_reward_dir, "temperature": 0.7})
    job = build_job(settings, torch.device("cpu"), needs_reward_model=True)
    frozen = {name: p.clone() for name, p in job.reference.named_parameters()}
    first, second = iterate(job, settings), iterate(job, settings)
    assert first["objective/kl"] == 0.0
    assert first["val/first_max_log_ratio"] < 1e-5
    assert second["val/first_max_log_ratio"] < 1e-5
    assert second["objective/kl"] != 0.0
    assert all(torch.equal(p, frozen[name]) for name, p in job.reference.named_parameters())
    assert weights_hash(settings.policy) == before


def test_optimizer_steps_are_iterations_times_epochs_times_minibatches(small: dict[str, object]) -> None:
    settings = PpoSettings.model_validate(small | {"inner_epochs": 2})
    job = build_job(settings, torch.device("cpu"), needs_reward_model=False)
    for _ in range(3):
        metrics = iterate(job, settings, likes_e)
        assert metrics["ppo/optimizer_steps"] == 8
    for optimizer in (job.learner.policy_optimizer, job.learner.value_optimizer):
        assert {int(state["step"]) for state in optimizer.state.values()} == {3 * 2 * 4}


def test_eight_pretraining_examples_an_episode_are_consumed_over_a_run(small: dict[str, object]) -> None:
    settings = PpoSettings.model_validate(small | {"ptx_per_episode": 8.0})
    job = build_job(settings, torch.device("cpu"), needs_reward_model=False)
    for _ in range(2):
        iterate(job, settings, likes_e)
    assert job.text is not None
    assert job.text.cursor == 8 * 2 * settings.batch_size


def test_learning_rate_follows_the_warm_up(small: dict[str, object]) -> None:
    settings = PpoSettings.model_validate(small | {"warmup_iterations": 2, "lr": 1e-3})
    job = build_job(settings, torch.device("cpu"), needs_reward_model=False)
    rates = [iterate(job, settings, likes_e)["lr"] for _ in range(3)]
    assert rates == pytest.approx([1e-4, 5.5e-4, 1e-3])
    assert job.learner.value_optimizer.param_groups[0]["lr"] == settings.value_lr


def test_the_average_is_what_is_published(small: dict[str, object], tmp_path: Path) -> None:
    published = {}
    for decay in (0.0, 0.9):
        settings = PpoSettings.model_validate(small | {"ema_decay": decay, "output": tmp_path / f"ema{decay}"})
        run_ppo(settings, reward_fn=likes_e)
        published[decay] = load_file(settings.output / "model.safetensors")
    start = load_file(Path(str(small["policy"])) / "model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    moved = {decay: (tensors[name] - start[name]).norm() for decay, tensors in published.items()}
    assert 0 < moved[0.9] < 0.5 * moved[0.0]


def test_a_broken_rule_stops_the_run_and_publishes_the_last_good_checkpoint(small: dict[str, object]) -> None:
    chosen = {"episodes": 30 * 16, "lr": 2e-3, "max_kl_nats": 0.5, "guard_patience": 2, "checkpoint_every": 1}
    settings = PpoSettings.model_validate(small | chosen)
    metrics = run_ppo(settings, reward_fn=likes_e)
    stopped = metrics["stopped"]
    assert "over its limit of 0.5" in stopped["reason"]
    # Its weights, and not only those of the iteration before it, were measured under the limit.
    assert stopped["published_iteration"] == stopped["iteration"] - 3 < 30
    assert metrics["last"]["objective/kl"] <= 0.5


def test_a_score_that_is_no_number_stops_the_run_with_its_reason(small: dict[str, object]) -> None:
    settings = PpoSettings.model_validate(small)
    with pytest.raises(Diverged, match="there is no earlier checkpoint"):
        run_ppo(settings, reward_fn=lambda messages, texts, finished: [float("nan")] * len(texts))
    assert not settings.output.exists()


def test_an_adaptive_coefficient_moves_towards_its_target(small: dict[str, object]) -> None:
    settings = PpoSettings.model_validate(small | {"kl_target_nats": 1e-6, "kl_horizon": 160})
    job = build_job(settings, torch.device("cpu"), needs_reward_model=False)
    iterate(job, settings, likes_e)
    assert job.kl_coef == pytest.approx(0.02 * (1 - 0.2 * 16 / 160))
    far_off = 1.02 if iterate(job, settings, likes_e)["objective/kl"] > 0 else 0.98
    assert job.kl_coef == pytest.approx(0.02 * 0.98 * far_off)


def test_bfloat16_runs_and_stays_near_float32(small: dict[str, object], tiny_reward_dir: Path) -> None:
    figures = {}
    for bf16 in (False, True):
        settings = PpoSettings.model_validate(small | {"reward": tiny_reward_dir, "bf16": bf16})
        job = build_job(settings, torch.device("cpu"), needs_reward_model=True)
        figures[bf16] = iterate(job, settings)
    assert figures[True]["objective/kl"] == 0.0
    for name in ("ppo/policy/entropy_avg", "ppo/ptx/loss"):
        assert figures[True][name] == pytest.approx(figures[False][name], rel=1e-2)


def test_a_killed_run_resumes_to_the_same_bits(small: dict[str, object], tiny_reward_dir: Path, tmp_path: Path) -> None:
    given = small | {"reward": tiny_reward_dir, "checkpoint_every": 2, "episodes": 8 * 16}
    whole = PpoSettings.model_validate(given | {"output": tmp_path / "whole"})
    killed = PpoSettings.model_validate(given | {"output": tmp_path / "killed"})
    run_ppo(whole)
    line = [sys.executable, "-m", "trainer", "ppo"]
    for name, value in (given | {"output": killed.output}).items():
        line += ["--" + name.replace("_", "-"), *map(str, value if isinstance(value, list) else [value])]
    child = subprocess.Popen(line, cwd=REPOSITORY, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)
    partial, deadline = tmp_path / "killed.partial", time.monotonic() + 120
    # Iteration 5 is under way or done when its predecessor's checkpoint is whole: one or two iterations get lost.
    while not (partial / "checkpoints" / "step-00000004").exists() and time.monotonic() < deadline:
        time.sleep(0.002)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert partial.is_dir()
    assert not killed.output.exists()
    run_ppo(killed)
    for name in ("model.safetensors", "value/model.safetensors", "value/scalar_head.safetensors"):
        assert (killed.output / name).read_bytes() == (whole.output / name).read_bytes(), name
    first, second = (json.loads((run.output / "metrics.json").read_text()) for run in (whole, killed))
    timeless = [{k: v for k, v in run["last"].items() if not k.startswith("time/")} for run in (first, second)]
    assert timeless[0] == timeless[1]


def test_sigterm_loses_no_iteration_and_changes_no_bit(small: dict[str, object], tmp_path: Path) -> None:
    given = small | {"episodes": 4 * 16, "checkpoint_every": 0}
    whole = PpoSettings.model_validate(given | {"output": tmp_path / "whole"})
    stopped = PpoSettings.model_validate(given | {"output": tmp_path / "stopped"})
    run_ppo(whole, reward_fn=likes_e)
    calls: list[int] = []

    def told_to_stop_in_the_second(*arguments: Sequence[object]) -> list[float]:
        calls.append(1)
        if len(calls) == 2:
            signal.raise_signal(signal.SIGTERM)
        return likes_e(*arguments)  # type: ignore[arg-type]

    with pytest.raises(SystemExit) as ended:
        run_ppo(stopped, reward_fn=told_to_stop_in_the_second)
    assert ended.value.code == 143
    assert (tmp_path / "stopped.partial" / "checkpoints" / "step-00000002").is_dir()
    run_ppo(stopped, reward_fn=told_to_stop_in_the_second)
    assert len(calls) == 4, "no iteration was done twice"
    for name in ("model.safetensors", "value/model.safetensors"):
        assert (stopped.output / name).read_bytes() == (whole.output / name).read_bytes(), name


def test_ppo_on_a_real_pretrained_model_keeps_its_language(tmp_path: Path) -> None:
    model, stories = DATA / "model-stories260k", DATA / "text-tinystories-sample" / "stories.txt.gz"
    if not model.is_dir():
        pytest.skip("no pretrained model under WHETSTONE_DATA")
    prompts = tmp_path / "prompts.jsonl"
    openings = ["Once upon a time", "One day, a girl named Lily", "The little dog", "Tom and his mom"]
    prompts.write_text("".join(json.dumps({"id": str(n), "prompt": openings[n % 4]}) + "\n" for n in range(16)))
    settings = PpoSettings.model_validate(
        SMALL
        | {
            "output": tmp_path / "out",
            "policy": model,
            "prompts": [prompts],
            "pretraining": [stories],
            "episodes": 6 * 32,
            "batch_size": 32,
            "max_completion_tokens": 20,
            "ptx_per_episode": 1.0,
            "lr": 3e-4,
            "ptx_block_tokens": 64,
        }
    )

    def short_words(messages: object, texts: Sequence[str], finished: Sequence[bool]) -> list[float]:
        return [text.count(" ") / (1 + len(text)) * 10 for text in texts]

    with pytest.warns(UserWarning, match="no padding token"):
        metrics = run_ppo(settings, reward_fn=short_words)
    assert metrics["first"]["objective/kl"] == 0.0
    assert metrics["last"]["sampler/gap_max"] < 1e-3
    assert metrics["first"]["ppo/ptx/loss"] < 2.5
    assert metrics["last"]["ppo/ptx/loss"] < metrics["first"]["ppo/ptx/loss"] + 0.2
