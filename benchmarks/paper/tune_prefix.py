"""``python -m benchmarks.paper.tune_prefix``: which few-shot prefix makes the base answer best, on tuning prompts.

Every candidate answers one hundred prompts, the best of them three hundred others. Knows sampling and the gold taste;
what prefixes there are is in `benchmarks.paper.fewshot`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from statistics import fmean

import torch
from tqdm import tqdm

from benchmarks.paper.fewshot import TUNING_SEED, Prefix, as_messages, candidates, search
from deploy.base import SHIPPED
from sandbox.__main__ import prompt_rows
from sandbox.gold import judge
from trainer.data.reading import render
from trainer.models.policies import load_policy, load_tokenizer
from trainer.rollouts.transformers_sampler import TransformersSampler

FINALISTS = 12
FIRST, FINAL = 100, 300
"""Prompts of the two rounds."""


def main(arguments: list[str] | None = None) -> int:
    """Print the finalists with their mean gold scores, best first, and that of no prefix."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paper.tune_prefix", description=__doc__)
    parser.add_argument("--seeds", type=int, default=12, help="prefixes of each form, length and style (default 12)")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    prompts = [str(row["prompt"]) for row in prompt_rows(FIRST + FINAL, TUNING_SEED, "test")]
    worth = judge_prefixes()
    found = list(candidates(given.seeds))
    first = search(tqdm(found), lambda prefix: worth(prefix, prompts[:FIRST]), FINALISTS)
    final = search([prefix for _, prefix in first], lambda prefix: worth(prefix, prompts[FIRST:]), FINALISTS)
    for score, prefix in (*final, (worth(Prefix("line", ()), prompts[FIRST:]), "no prefix")):
        print(f"{score:.3f} {prefix}")
    return 0


def judge_prefixes() -> Callable[[Prefix, Sequence[str]], float]:
    """A function from a prefix and prompts to the mean gold score of the base's answers."""
    tokenizer = load_tokenizer(SHIPPED)
    sampler = TransformersSampler(
        load_policy(SHIPPED, device=torch.device("cpu")),
        eos_id=int(tokenizer.eos_token_id),
        pad_id=int(tokenizer.pad_token_id),
        max_completion_tokens=32,
        batch_size=128,
    )

    def worth(prefix: Prefix, prompts: Sequence[str]) -> float:
        rollout = sampler.sample([render(tokenizer, as_messages(prefix, prompt)) for prompt in prompts], TUNING_SEED)
        texts = tokenizer.batch_decode(rollout.completions(), skip_special_tokens=True)
        answers = zip(prompts, texts, rollout.finished_B.tolist(), strict=True)
        return fmean(judge(*answer).score for answer in answers)

    return worth


if __name__ == "__main__":
    sys.exit(main())
