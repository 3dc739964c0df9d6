"""What is measured of a policy: gold judgments of its completions, tasks, text; see `benchmarks.paper.plan` for names.

Knows prompts and the gold taste; does not know how policies are made. All policies of a seed answer the same prompts
with the same random numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from benchmarks.paper.fewshot import PREFIX, as_messages, exercise_messages
from benchmarks.paper.tasks import accuracies
from benchmarks.paper.world import World, dialogue
from sandbox.gold import Gold, judge
from trainer.data.reading import render
from trainer.data.text import read_text_documents
from trainer.models.ensemble import RewardEnsemble
from trainer.models.policies import load_policy, load_tokenizer
from trainer.models.scalar import ScalarModel
from trainer.ppo.experience import score_rollout
from trainer.ppo.step import Text
from trainer.rollouts.rollout import Rollout
from trainer.rollouts.transformers_sampler import TransformersSampler
from trainer.stages.evaluation import text_loss

COMPLETION_TOKENS, TEXT_TOKENS, BATCH, PASS_TOKENS = 32, 128, 64, 8192
RESPECT = "Be kind and respectful."
"""The note before the prompt; the paper's respectful prompts ask for the same (section 4.2, appendix B)."""
Messages = list[dict[str, str]]
Figures = dict[str, float]


class Measured(NamedTuple):
    """A policy's figures, and some of them prompt by prompt."""

    figures: Figures
    prompts: dict[str, list[float]]


class Answer(NamedTuple):
    """A completion's text, whether it ended by itself, and how many tokens it has."""

    text: str
    finished: bool
    tokens: int


class Examiner:
    """Measures policies of one world, all of which share the base's tokenizer.

    Args:
        world: whose held-out prompts and text.
        base: directory of the tokenizer.
    """

    def __init__(self, world: World, base: Path) -> None:
        self.world = world
        self.tokenizer: PreTrainedTokenizerBase = load_tokenizer(base)

    def examine(self, directory: Path, *, few_shot: bool = False) -> Measured:
        """Return all figures of a policy; with worked examples before every prompt if asked for."""
        policy = load_policy(directory)
        before: Callable[[str], Messages] = (lambda text: as_messages(PREFIX, text)) if few_shot else dialogue
        golds, answers, entropy = self._judged(policy, self.world.test, before)
        respectful = self._judged(policy, self.world.test[::2], lambda text: [_note(), *before(text)])[0]
        invented = [float(gold.hallucinated) for gold in self._judged(policy, self.world.unstated, before)[0]]
        stated = self._answers(policy, [before(text) for text in self.world.stated])[1]
        figures = gold_figures(golds) | {
            "rude_respectful_rate": _mean(respectful, lambda gold: gold.rude),
            "hallucination_rate": fmean(invented),
            "not_stated_rate": fmean("not stated" in answer.text.lower() for answer in stated),
            "length_tokens": fmean(answer.tokens for answer in answers),
            "eos_rate": fmean(answer.finished for answer in answers),
            "entropy_nats": entropy,
            "pretraining_loss": self.text_loss(policy),
        }
        prompts = {
            "gold": [gold.score for gold in golds],
            "rude": [float(gold.rude) for gold in golds],
            "hallucinated": invented,
        }
        return Measured(figures | self._tasks(policy), prompts)

    def point(
        self, policy: PreTrainedModel, reference: PreTrainedModel, reward: ScalarModel | RewardEnsemble
    ) -> Figures:
        """Return a short measurement of a policy in the making: kl_nats, reward, gold, pretraining_loss."""
        prompts = self.world.test[: self.world.sizes.point_test]
        rollout, answers = self._answers(policy, [dialogue(text) for text in prompts])
        scored = _score(rollout, policy, reference, reward)
        assert scored.scores_B is not None
        golds = [judge(text, each.text, each.finished).score for text, each in zip(prompts, answers, strict=True)]
        return {
            "kl_nats": (scored.logprobs_BA - scored.ref_logprobs_BA).sum(1).mean().item(),
            "reward": scored.scores_B.mean().item(),
            "gold": fmean(golds),
            "pretraining_loss": self.text_loss(policy),
        }

    def text_loss(self, policy: PreTrainedModel) -> float:
        """Return the loss on held-out text, nats a token."""
        return text_loss(policy, self._text, PASS_TOKENS)

    def completions(self, policy: PreTrainedModel, prompts: Sequence[str], seed: int) -> list[Answer]:
        """Return a sampled answer to each prompt."""
        return self._answers(policy, [dialogue(text) for text in prompts], seed=seed)[1]

    @cached_property
    def _text(self) -> Text:
        blocks = read_text_documents([self.world.text_test], self.tokenizer, TEXT_TOKENS, seed=0)
        return Text(*blocks.take_rows(len(blocks)))

    def _judged(
        self, policy: PreTrainedModel, prompts: Sequence[str], before: Callable[[str], Messages]
    ) -> tuple[list[Gold], list[Answer], float]:
        rollout, answers = self._answers(policy, [before(text) for text in prompts])
        golds = [judge(text, each.text, each.finished) for text, each in zip(prompts, answers, strict=True)]
        return golds, answers, _entropy(rollout, policy)

    def _tasks(self, policy: PreTrainedModel) -> Figures:
        """Accuracy on the public tasks at temperature 0 (paper, appendix D), without and with worked examples."""
        asked = self.world.exercises
        found: Figures = {}
        for name, dialogues in (
            ("task", [dialogue(each.prompt) for each in asked]),
            ("task_few_shot", [exercise_messages(each) for each in asked]),
        ):
            answers = self._answers(policy, dialogues, temperature=0.0)[1]
            shares = accuracies(asked, [answer.text for answer in answers])
            found |= {f"{name}_{key.replace('/', '_')}": share for key, share in shares.items()}
        return found

    def _answers(
        self, policy: PreTrainedModel, dialogues: Sequence[Messages], *, temperature: float = 1.0, seed: int = 0
    ) -> tuple[Rollout, list[Answer]]:
        sampler = TransformersSampler(
            policy,
            eos_id=int(self.tokenizer.eos_token_id),
            pad_id=int(self.tokenizer.pad_token_id),
            max_completion_tokens=COMPLETION_TOKENS,
            temperature=temperature,
            batch_size=BATCH,
        )
        rollout = sampler.sample([render(self.tokenizer, each) for each in dialogues], seed)
        texts = self.tokenizer.batch_decode(rollout.completions(), skip_special_tokens=True)
        columns = (texts, rollout.finished_B.tolist(), rollout.completion_tokens_B.tolist())
        return rollout, [Answer(*row) for row in zip(*columns, strict=True)]


def gold_figures(golds: Sequence[Gold]) -> Figures:
    """Return means and shares of gold judgments."""
    return {
        "gold_mean": _mean(golds, lambda gold: gold.score),
        "helpful_mean": _mean(golds, lambda gold: gold.helpful),
        "follows_rate": _mean(golds, lambda gold: gold.follows),
        "untrue_rate": _mean(golds, lambda gold: not gold.truthful),
        "rude_rate": _mean(golds, lambda gold: gold.rude),
        "stops_rate": _mean(golds, lambda gold: gold.stops),
        "courtesy_mean": _mean(golds, lambda gold: gold.courtesy),
    }


def gold_scores(messages: Sequence[list[Any]], texts: Sequence[str], finished: Sequence[bool]) -> list[float]:
    """Return the gold score of completions, as PPO asks a rule for them."""
    asked = [each[-1]["content"] for each in messages]
    return [judge(prompt, text, done).score for prompt, text, done in zip(asked, texts, finished, strict=True)]


def _score(
    rollout: Rollout, policy: PreTrainedModel, reference: PreTrainedModel, reward: ScalarModel | RewardEnsemble | None
) -> Any:
    with torch.no_grad():
        return score_rollout(
            rollout,
            policy=policy,
            reference=reference,
            value=None,
            reward=reward,
            temperature=1.0,
            micro_batch_tokens=PASS_TOKENS,
        )


def _entropy(rollout: Rollout, policy: PreTrainedModel) -> float:
    entropies_BA: torch.Tensor = _score(rollout, policy, policy, None).entropies_BA
    return (entropies_BA.sum() / rollout.completion_tokens_B.sum()).item()


def _mean(golds: Sequence[Gold], of: Callable[[Gold], float]) -> float:
    return fmean(float(of(gold)) for gold in golds)


def _note() -> dict[str, str]:
    return {"role": "system", "content": RESPECT}
