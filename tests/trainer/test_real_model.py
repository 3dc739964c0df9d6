"""The whole method on a real pretrained model of 260 k parameters: sft, reward, start, PPO-ptx, weights or adapters.

Nobody ranks here: a rule that counts `and` does, and the reward model has to find that out from rankings.
"""

from __future__ import annotations

import gzip
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from feedback import artifacts
from trainer.ppo import ppo
from trainer.settings.evaluate import GenerateSettings
from trainer.settings.ppo import PpoSettings
from trainer.settings.presets import resolve
from trainer.settings.stages import RewardSettings, SftSettings, StageSettings, StartSettings
from trainer.stages import generate, reward, sft, start

pytestmark = pytest.mark.filterwarnings("ignore:.*no padding token")
AND = re.compile(r"\band\b", re.IGNORECASE)
STAGES: dict[str, tuple[type[StageSettings], Callable[[Any], dict[str, Any]]]] = {
    "sft": (SftSettings, sft.run),
    "start": (StartSettings, start.run),
    "reward": (RewardSettings, reward.run),
    "generate": (GenerateSettings, generate.run),
    "ppo": (PpoSettings, ppo.run),
}
LIMITS = {"max_prompt_tokens": 64, "max_completion_tokens": 20, "threads": 1, "device": "cpu", "seed": 1}


def liked(text: str) -> int:
    """How often it says `and`, counted up to two."""
    return min(len(AND.findall(text)), 2)


def stage(name: str, **given: object) -> dict[str, Any]:
    precision = {} if name == "generate" else {"bf16": False}
    kind, run = STAGES[name]
    return run(resolve(name, kind, "small", LIMITS | precision | given))


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def mean(steps: Sequence[dict[str, Any]], name: str) -> float:
    return sum(step[name] for step in steps) / len(steps)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, data_root: Path, stories_dir: Path) -> dict[str, Any]:
    """Everything that PPO needs, made by the stages themselves; sentences of stories are prompts and answers."""
    at = tmp_path_factory.mktemp("real")
    torch.set_num_threads(1)
    stories = data_root / "text-tinystories-sample" / "stories.txt.gz"
    with gzip.open(stories, "rt") as file:
        told = [re.findall(r"[^.!?]+[.!?]", line) for line in file]
    short = [(s[0].strip(), s[1].strip()) for s in told if len(s) > 1 and len(s[0]) < 70 and len(s[1]) < 60]
    demonstrations = write(
        at / "d.jsonl", [{"id": f"d{n}", "prompt": p, "response": r} for n, (p, r) in enumerate(short[:260])]
    )
    prompts = write(at / "p.jsonl", [{"id": f"p{n}", "prompt": p} for n, (p, _) in enumerate(short[260:420])])
    small = {"policy": stories_dir, "demonstrations": [demonstrations], "lr": 2e-3, "batch_size": 16}
    made: dict[str, Any] = {"at": at, "prompts": prompts, "stories": stories}
    made["sft"] = stage("sft", **small, output=at / "sft", epochs=2)
    stage("generate", output=at / "s.jsonl", policy=at / "sft", prompts=[prompts], n=4, logprobs=False)
    ranked = [
        {
            "id": row["id"],
            "messages": row["messages"],
            "responses": [{"text": each["text"], "rank": 2 - liked(each["text"])} for each in row["completions"]],
        }
        for row in lines(at / "s.jsonl")
    ]
    distinct = [row for row in ranked if len({each["rank"] for each in row["responses"]}) > 1]
    preferences = write(at / "c.jsonl", distinct)
    made["reward"] = stage(
        "reward", output=at / "reward", policy=at / "sft", preferences=[preferences], demonstrations=[demonstrations],
        lr=3e-3, batch_size=8, valid_fraction=0.2, epochs=2,
    )  # fmt: skip
    made["start"] = stage("start", **small, output=at / "start", text=[stories], text_block_tokens=64)
    return made


def test_the_stages_before_ppo_learn(trained: Mapping[str, Any]) -> None:
    steps = lines(trained["at"] / "start" / "metrics.jsonl")
    assert mean(steps[-5:], "loss") < 0.8 * mean(steps[:5], "loss")
    assert mean(steps[-5:], "text_loss") < mean(steps[:5], "text_loss") + 0.3, "it still tells stories"
    assert trained["sft"]["validation_loss"] < steps[0]["loss"]
    # A coin would be right half of the time, give or take its standard error.
    pairs = trained["reward"]["held_out"]["pairs"]
    assert trained["reward"]["accuracy"] > 0.5 + 3 * 0.5 / math.sqrt(pairs)


@pytest.mark.parametrize(("name", "chosen"), [("full", {}), ("lora", {"lora_rank": 8, "lora_alpha": 16, "lr": 6e-3})])
def test_ppo_ptx_raises_the_score_at_a_bounded_kl_and_publishes_a_policy_that_answers(
    trained: Mapping[str, Any], name: str, chosen: dict[str, Any]
) -> None:
    at = trained["at"]
    options: dict[str, Any] = {
        "output": at / name, "policy": at / "start", "reward": at / "reward", "prompts": [trained["prompts"]],
        "pretraining": [trained["stories"]], "episodes": 8 * 48, "batch_size": 48, "minibatches": 2, "lr": 1e-3,
        "value_lr": 1e-3, "warmup_iterations": 2, "ema_decay": 0.5, "ptx_block_tokens": 64, "ptx_per_episode": 0.5,
        "ptx_coef": 1.0,
    }  # fmt: skip
    metrics = stage("ppo", **options | chosen)
    steps = lines(at / name / "metrics.jsonl")
    assert len(steps) == metrics["iterations"] == 8
    assert metrics["stopped"] is None
    before, after = steps[:2], steps[-3:]
    noise = math.hypot(*(mean(some, "objective/scores_std") / math.sqrt(48 * len(some)) for some in (before, after)))
    assert mean(after, "objective/scores") > mean(before, "objective/scores") + 4 * noise
    assert steps[0]["objective/kl"] == 0.0
    assert all(0.1 < step["objective/kl"] < 30 for step in after)
    assert 0 < mean(steps[-4:], "ppo/ptx/loss") < mean(steps[:4], "ppo/ptx/loss") + 0.3
    assert all(step["ppo/grad_norm/ppo"] > 0 and step["ppo/grad_norm/ptx"] > 0 for step in steps)
    assert all(step["sampler/gap_max"] < 1e-3 for step in steps)
    artifacts.verify(at / name)
    assert (at / name / "adapter").is_dir() == (name == "lora")
    assert told(at / name) > told(at / "start"), "what the reward model taught is what the rule counts"


def told(policy: Path) -> float:
    """What the rule gives an answer, by transformers' own loading and sampling; some answers end."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(policy), AutoTokenizer.from_pretrained(policy)
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Tom was happy."}], add_generation_prompt=True, return_tensors="pt"
    )["input_ids"]
    torch.manual_seed(0)
    answers = model.generate(
        asked.repeat(96, 1), max_new_tokens=20, do_sample=True, top_k=0, top_p=1.0, temperature=1.0
    )
    texts = tokenizer.batch_decode(answers[:, asked.shape[1] :], skip_special_tokens=True)
    assert sum(map(len, texts)) > 96
    assert (answers[:, asked.shape[1] :] == tokenizer.eos_token_id).any()
    return sum(map(liked, texts)) / len(texts)
