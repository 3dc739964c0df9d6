"""Which epoch of supervised fine-tuning is kept.

Knows how an epoch is judged and where its weights wait; does not know the training loss.

Source: Ouyang et al. 2022, arXiv:2203.02155, section 3.5 and C.1: the SFT model is selected by reward-model score on
the validation set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_model, save_model
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from feedback.artifacts import sync
from trainer.models.adapters import trained_part
from trainer.models.ensemble import RewardEnsemble, load_reward
from trainer.models.normalisation import score_sequences
from trainer.models.policies import load_tokenizer, require_same_tokenizer
from trainer.models.scalar import ScalarModel
from trainer.rollouts.transformers_sampler import TransformersSampler
from trainer.running.distributed import ALONE, World
from trainer.running.sharding import pull, push

_BEST = "best.safetensors"
_SAMPLED_AT_ONCE = 64


class Selection:
    """Judges each epoch and keeps the weights of the best one on disk.

    Attributes:
        criterion: "reward", "validation loss", or "last epoch" when nothing is held out.
        best_epoch: counted from 1; 0 before the first.
        history: one entry for each epoch: its figures.
    """

    def __init__(
        self,
        directory: Path,
        policy: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        loss: Callable[[], float] | None,
        reward_model: Path | None,
        prompts: Sequence[Sequence[int]],
        max_completion_tokens: int,
        seed: int,
        world: World = ALONE,
    ) -> None:
        """Bind what judging needs.

        Args:
            directory: where the best weights wait: that of the checkpoints, because a killed run needs them again.
            policy: the model that is being trained.
            tokenizer: its tokenizer.
            loss: validation loss of the policy as it is now; None when nothing is held out.
            reward_model: judges samples if given.
            prompts: token ids of validation prompts to sample on.
            max_completion_tokens: length cap of the samples.
            seed: of the sampling, the same in every epoch.
            world: the processes that judge alike; the main one keeps the weights.

        Raises:
            ConfigError: reward model and policy do not share a tokenizer.
        """
        self._file = directory / _BEST
        self._policy = policy
        self._loss = loss
        self._prompts = prompts
        self._seed = seed
        self._world = world
        self._pad_id = int(tokenizer.pad_token_id)
        self._reward: ScalarModel | RewardEnsemble | None = None
        if reward_model is not None:
            require_same_tokenizer(tokenizer, load_tokenizer(reward_model))
            self._reward = load_reward(reward_model, device=policy.device)
        self._sampler = TransformersSampler(
            policy,
            eos_id=int(tokenizer.eos_token_id),
            pad_id=self._pad_id,
            max_completion_tokens=max_completion_tokens,
            batch_size=_SAMPLED_AT_ONCE,
        )
        self.criterion = "reward" if self._reward else "validation loss" if loss else "last epoch"
        self.best_epoch = 0
        self.history: list[dict[str, float]] = []

    def consider(self, epoch: int) -> None:
        """Judge the policy as it is now, at the end of ``epoch``, and keep its weights if none was better."""
        figures: dict[str, float] = {"epoch": epoch}
        if self._loss is not None:
            figures["validation_loss"] = self._loss()
        if self._reward is not None:
            figures |= self._judge_samples(self._reward)
        best = max(map(self._merit, self.history), default=None)
        self.history.append(figures)
        if best is None or self._merit(figures) > best:
            self.best_epoch = epoch
            if self.criterion != "last epoch":
                self._keep(pull(self._policy))

    def _keep(self, policy: PreTrainedModel) -> None:
        if self._world.main:
            partial = self._file.with_suffix(".partial")
            self._file.parent.mkdir(parents=True, exist_ok=True)
            save_model(trained_part(policy), str(partial))
            sync(partial)
            partial.replace(self._file)

    def take_best(self) -> None:
        """Put the best epoch's weights back into the policy; their copy stays until the run has ended."""
        self._world.barrier()  # the main process has written it
        if self._file.exists():
            policy = pull(self._policy)
            load_model(trained_part(policy), self._file, device=str(policy.device))
            push(self._policy)
        self._world.barrier()  # every process has read it

    def state(self) -> dict[str, Any]:
        """Return what has been judged so far, as plain JSON values."""
        return {"best_epoch": self.best_epoch, "history": self.history}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what ``state`` returned."""
        self.best_epoch, self.history = int(state["best_epoch"]), list(state["history"])

    def _merit(self, figures: dict[str, float]) -> float:
        """Higher is better."""
        if self.criterion == "reward":
            return figures["reward"]
        return -figures["validation_loss"] if self.criterion == "validation loss" else figures["epoch"]

    def _judge_samples(self, reward: ScalarModel | RewardEnsemble) -> dict[str, float]:
        rollout = self._sampler.sample(self._prompts, self._seed)
        sequences = [
            [*prompt, *completion] for prompt, completion in zip(self._prompts, rollout.completions(), strict=True)
        ]
        scores = score_sequences(reward, sequences, self._pad_id)
        return {
            "reward": sum(scores) / len(scores),
            "eos_rate": float(rollout.finished_B.float().mean()),
        }
