"""One policy for two groups of opposite tastes: PPO on prompts that name a group, and who likes what it then writes.

Knows the conditioned reward model, the stage `ppo` and the groups' tastes, of which no stage knows; the plan of runs
and their summary are the benchmark's.
"""

from __future__ import annotations

import itertools
import shutil
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.judged_worlds import Judges, as_split, judged_rows
from benchmarks.ranked_rounds import World, write_rows
from sandbox.gold import judge
from sandbox.labelers import taste
from trainer.data.conditioning import naming
from trainer.data.examples import Message
from trainer.data.reading import render
from trainer.models.policies import load_policy, load_tokenizer
from trainer.ppo import ppo
from trainer.rollouts.transformers_sampler import TransformersSampler
from trainer.settings.ppo import PpoSettings
from trainer.settings.presets import resolve
from trainer.settings.stages import RewardSettings
from trainer.stages import reward

ITERATIONS, TRAIN_ROWS, TEST_PROMPTS = 80, 800, 400
KL_COEF = 0.15
"""Chosen on seed 699; with the preset's 0.05 one answer went to nine prompts of ten, whoever asked."""
UNNAMED = "nobody"
Answers = list[tuple[str, bool]]


def serve_both(world: World, directory: Path, seed: int) -> dict[str, Any]:
    """Train a reward model and a policy that are told the group; return how often each group prefers its own answers.

    Args:
        world: policy, prompts, completions.
        directory: for models, which are removed afterwards.
        seed: of labels, training and answers.
    """
    judges = Judges.two_tastes()
    groups = sorted({person.group for person in judges.people})
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    rows = as_split(judged_rows(world, judges, "train", seed, TRAIN_ROWS), "train")
    labels = write_rows(directory / "rows.jsonl", rows)
    told: dict[str, Any] = {"output": directory / "reward", "policy": world.sft, "preferences": [labels], "seed": seed}
    reward.run(resolve("reward", RewardSettings, "sandbox", told | {"condition": "group", "checkpoint_every": 0}))
    told = {
        "output": directory / "policy", "policy": world.sft, "reward": directory / "reward", "seed": seed,
        "prompts": [world.directory / "train.jsonl"], "condition_on": groups, "episodes": 64 * ITERATIONS,
        "device": "cpu", "kl_coef": KL_COEF,
    }  # fmt: skip
    trained = ppo.run(resolve("ppo", PpoSettings, "sandbox", told))
    prompts = [row["prompt"] for row in world.prompts["test"][:TEST_PROMPTS]]
    answers = {group: answered(directory / "policy", prompts, group, seed) for group in (*groups, UNNAMED)}
    figures = preferred(judges, prompts, answers, groups)
    figures["words"] = {
        group: statistics.fmean(len(text.split()) for text, _ in each) for group, each in answers.items()
    }
    figures["stopped"] = trained["stopped"]
    shutil.rmtree(directory)
    return figures


def answered(policy: Path, prompts: Sequence[str], group: str, seed: int) -> Answers:
    """Return the policy's answer to each prompt, at temperature 1, and whether it ended, told whom it is for."""
    model, tokenizer = load_policy(policy), load_tokenizer(policy)
    own: list[list[Message]] = [[{"role": "user", "content": prompt}] for prompt in prompts]
    told = own if group == UNNAMED else [naming(messages, group) for messages in own]
    sampler = TransformersSampler(
        model, eos_id=int(tokenizer.eos_token_id), pad_id=int(tokenizer.pad_token_id), max_completion_tokens=32
    )
    drawn = sampler.sample([render(tokenizer, messages) for messages in told], seed)
    texts = tokenizer.batch_decode(drawn.completions(), skip_special_tokens=True)
    return list(zip(texts, drawn.finished_B.tolist(), strict=True))


def preferred(
    judges: Judges, prompts: Sequence[str], answers: dict[str, Answers], groups: Sequence[str]
) -> dict[str, Any]:
    """Return for each group how often it prefers the answer that was meant for it, ties half.

    Args:
        judges: people of all groups; those of one share their taste, and noise is left out.
        prompts: in the order of the answers.
        answers: by whom they were meant for.
        groups: names.
    """
    found: dict[str, Any] = {"own_over_others": {}, "own_over_unnamed": {}}
    for group, other in itertools.permutations(groups, 2):
        labeler = next(person.labeler for person in judges.people if person.group == group)

        def worth(meant: str, labeler: Any = labeler) -> list[float]:
            return [
                taste(labeler, judge(prompt, text, finished), len(text.split()))
                for prompt, (text, finished) in zip(prompts, answers[meant], strict=True)
            ]

        for name, against in (("own_over_others", other), ("own_over_unnamed", UNNAMED)):
            pairs = zip(worth(group), worth(against), strict=True)
            found[name][group] = statistics.fmean(0.5 if own == his else float(own > his) for own, his in pairs)
    return found
