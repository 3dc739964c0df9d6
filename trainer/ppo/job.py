"""Everything a PPO run holds between iterations: how it is loaded, checkpointed, resumed and published.

Knows models' directories and the state that a resumed run needs; does not know what an iteration does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from feedback.errors import ConfigError, DataError
from trainer.data.conditioning import named_prompts
from trainer.data.reading import BadRows, Counts, Limits, Prompt, by_id, read_prompts
from trainer.data.text import TextBlocks, read_text_blocks, read_text_documents
from trainer.models.adapters import has_adapter, without_adapter
from trainer.models.ema import ParameterAverage
from trainer.models.ensemble import RewardEnsemble, load_reward, member_directories
from trainer.models.policies import load_policy, load_tokenizer, require_same_tokenizer, save_policy
from trainer.models.scalar import ScalarModel
from trainer.ppo.guards import Guards
from trainer.ppo.monitors import Monitors
from trainer.ppo.reward_curve import RewardCurve
from trainer.ppo.samplers import make_sampler
from trainer.ppo.step import Learner, Text
from trainer.rollouts.rollout import Rollout, Sampler
from trainer.rollouts.together import sample_together
from trainer.running.bad_steps import BadSteps
from trainer.running.distributed import ALONE, World
from trainer.running.optimization import adamw
from trainer.running.run import Run
from trainer.running.sharding import gathered, pull, shard
from trainer.settings.ppo import PpoSettings

_AVERAGE_PREFIX = "average."


@dataclass(kw_only=True)
class PpoJob:
    """A run's models, data and counters.

    Attributes:
        learner: policy and value model with their optimizers.
        reference: frozen policy of the KL penalty.
        reward: reward model or ensemble, or None when a rule scores.
        average: exponential moving average of the policy.
        sampler: draws completions.
        tokenizer: of all models.
        prompts: training prompts.
        text: pretraining blocks, or None.
        guards: watch over the metrics.
        monitors: measure what the policy does to earn its reward.
        bad_steps: count the optimizer steps that were skipped.
        curve: scores against KL, where a held-out reward model judges too.
        counts: what reading the prompts left out.
        device: where tensors live.
        kl_coef: of the next iteration.
        world: processes that work on the run.
        iteration: iterations done.
        first_metrics: of the first iteration.
        last_metrics: of the latest.
    """

    learner: Learner
    reference: PreTrainedModel
    reward: ScalarModel | RewardEnsemble | None
    average: ParameterAverage
    sampler: Sampler
    tokenizer: PreTrainedTokenizerBase
    prompts: list[Prompt]
    text: TextBlocks | None
    guards: Guards
    counts: Counts
    device: torch.device
    kl_coef: float
    world: World = ALONE
    monitors: Monitors = field(default_factory=Monitors)
    bad_steps: BadSteps = field(default_factory=lambda: BadSteps(None))
    curve: RewardCurve = field(default_factory=RewardCurve)
    iteration: int = 0
    first_metrics: dict[str, float] = field(default_factory=dict)
    last_metrics: dict[str, float] = field(default_factory=dict)

    def next_prompts(self, settings: PpoSettings) -> list[Prompt]:
        """The prompts of the present iteration: every prompt once an epoch, in an order drawn from seed and epoch."""
        start = self.iteration * settings.batch_size
        return [
            self.prompts[index] for index in epoch_order(len(self.prompts), start, settings.batch_size, settings.seed)
        ]

    def sample(self, prompts: Sequence[Sequence[int]], seed: int) -> Rollout:
        """One completion of each prompt, every process doing its share."""
        eos_id, pad_id = int(self.tokenizer.eos_token_id), int(self.tokenizer.pad_token_id)
        with gathered(self.learner.policy):
            return sample_together(self.sampler, prompts, seed, self.world, eos_id=eos_id, pad_id=pad_id)

    def next_text(self, settings: PpoSettings) -> Text | None:
        """The pretraining blocks of the next optimizer step; None when the term is off."""
        if self.text is None:
            return None
        ids_ST, lengths_S = self.text.take_rows(settings.ptx_per_minibatch)
        return Text(ids_ST.to(self.device), lengths_S.to(self.device))

    def record(self, metrics: Mapping[str, float]) -> None:
        """Keep the figures of the first and the latest iteration for the run's result."""
        self.last_metrics = dict(metrics)
        self.first_metrics = self.first_metrics or dict(metrics)

    def save(self, run: Run) -> None:
        """Write a checkpoint of everything that the next iteration depends on."""
        run.save_checkpoint(
            self.iteration,
            modules={"policy": self.learner.policy, "value": self.learner.value},
            optimizers={"policy": self.learner.policy_optimizer, "value": self.learner.value_optimizer},
            state={
                "kl_coef": self.kl_coef,
                "text_cursor": self.text.cursor if self.text else 0,
                "guards": self.guards.state_dict(),
                "monitors": self.monitors.state_dict(),
                "bad_steps": self.bad_steps.state_dict(),
                "curve": self.curve.state_dict(),
                "first": self.first_metrics,
                "last": self.last_metrics,
            },
            tensors={_AVERAGE_PREFIX + name: value for name, value in self.average.state_dict().items()},
            good=self.guards.healthy and self.bad_steps.last_was_good,
        )

    def resume(self, run: Run, *, good_only: bool = False, before: int | None = None) -> bool:
        """Go back to the newest checkpoint; False, and nothing changed, when there is none.

        Args:
            run: whose checkpoints.
            good_only: pass over those that were written while a rule was broken.
            before: pass over those of this iteration and later ones.
        """
        found = run.resume(
            modules={"policy": self.learner.policy, "value": self.learner.value},
            optimizers={"policy": self.learner.policy_optimizer, "value": self.learner.value_optimizer},
            good_only=good_only,
            before=before,
        )
        if found is None:
            return False
        self.average.load_state_dict({k.removeprefix(_AVERAGE_PREFIX): v for k, v in found.tensors.items()})
        self.iteration, self.kl_coef = found.step, found.state["kl_coef"]
        self.first_metrics, self.last_metrics = found.state["first"], found.state["last"]
        self.guards.load_state_dict(found.state["guards"])
        self.monitors.load_state_dict(found.state["monitors"])
        self.bad_steps.load_state_dict(found.state["bad_steps"])
        self.curve.load_state_dict(found.state["curve"])
        if self.text is not None:
            self.text.cursor = found.state["text_cursor"]
        return True

    def export(self, directory: Path) -> None:
        """Write the averaged policy to the directory and the value model to ``value/`` in it."""
        self.average.copy_to(self.learner.policy)
        policy, value = pull(self.learner.policy), pull(self.learner.value)
        if self.world.main:
            save_policy(policy, self.tokenizer, directory)
            value.save(directory / "value")


def build_job(
    settings: PpoSettings,
    device: torch.device,
    *,
    needs_reward_model: bool,
    directory: Path | None = None,
    world: World = ALONE,
) -> PpoJob:
    """Load models and data for a run that has not begun.

    Args:
        settings: which.
        device: where tensors live.
        needs_reward_model: nothing else scores the completions.
        directory: where rows and batches that were set aside are listed; None lists none.
        world: processes that work on the run.

    Raises:
        ConfigError: no reward model and no value model to start from, a penalty for disagreement without an ensemble,
            or tokenizers that differ.
        WhetstoneError: an input is missing or unusable.
    """
    tokenizer = load_tokenizer(settings.policy)
    for other in filter(None, (settings.reference, settings.reward, settings.value, settings.held_out_reward)):
        if any((other / name).exists() for name in ("tokenizer.json", "tokenizer_config.json")):
            require_same_tokenizer(tokenizer, load_tokenizer(other), f"{settings.policy} and {other}")
    policy = load_policy(settings.policy, device=device, lora=settings, seed=settings.seed)
    reference = _reference(settings, policy, device)
    reward, value = _scalar_models(settings, device, needs_reward_model)
    for model in filter(None, (policy, reference, reward, value)):
        shard(model, world)
    counts = Counts(bad=BadRows.of(settings, directory))
    limits = Limits(prompt_tokens=settings.max_prompt_tokens, completion_tokens=settings.max_completion_tokens)
    prompts = by_id(read_prompts(settings.prompts, tokenizer, limits, counts))
    prompts = [prompt for prompt in prompts if prompt.split in (None, "train")]
    if not prompts:
        raise DataError(f"{settings.prompts[0]}: every prompt is held out (split valid or test); PPO needs train rows")
    prompts = named_prompts(prompts, settings.condition_on, tokenizer, limits, settings.seed)
    text = None
    if settings.ptx_per_minibatch:
        read = read_text_blocks if settings.ptx_packed else read_text_documents
        text = read(settings.pretraining, tokenizer, settings.ptx_block_tokens, seed=settings.seed, bad=counts.bad)
    return PpoJob(
        learner=Learner(
            policy=policy,
            value=value,
            policy_optimizer=adamw(policy, settings, settings.lr),
            value_optimizer=adamw(value, settings, settings.value_lr),
        ),
        reference=reference,
        reward=reward,
        average=ParameterAverage(policy, settings.ema_decay),
        sampler=make_sampler(settings, policy, tokenizer, world),
        tokenizer=tokenizer,
        prompts=prompts,
        text=text,
        guards=Guards(settings, tokenizer.decode),
        monitors=Monitors(settings.hack_start_iterations),
        bad_steps=BadSteps(directory),
        curve=RewardCurve.of(settings, device),
        counts=counts,
        device=device,
        kl_coef=settings.kl_coef,
        world=world,
    )


def epoch_order(total: int, start: int, count: int, seed: int) -> list[int]:
    """Indices at positions ``start`` to ``start + count`` of an endless sequence of shuffled epochs over ``total``."""
    indices: list[int] = []
    position = start
    while len(indices) < count:
        epoch, offset = divmod(position, total)
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        order = torch.randperm(total, generator=generator)[offset : offset + count - len(indices)].tolist()
        indices += order
        position += len(order)
    return indices


def input_files(settings: PpoSettings) -> list[Path]:
    """The files and models whose bytes make two runs the same one."""
    models = filter(
        None, (settings.policy, settings.reference, settings.reward, settings.value, settings.held_out_reward)
    )
    return [*settings.prompts, *settings.pretraining, *models]


def _reference(settings: PpoSettings, policy: PreTrainedModel, device: torch.device) -> PreTrainedModel:
    """The frozen policy of the KL; the weights under the policy's adapters, not a copy, where it is that one."""
    path = settings.reference or settings.policy
    if has_adapter(policy) and path.resolve() == settings.policy.resolve():
        return without_adapter(policy)
    return load_policy(path, device=device).requires_grad_(False)


def _scalar_models(
    settings: PpoSettings, device: torch.device, needs_reward_model: bool
) -> tuple[ScalarModel | RewardEnsemble | None, ScalarModel]:
    """Reward model (frozen) and value model; the latter starts as the former, or on the policy's trunk without one."""
    if settings.reward is None and needs_reward_model:
        raise ConfigError("--reward is required: nothing scores the completions")
    reward, start = None, settings.value
    if settings.reward is not None:
        reward = load_reward(settings.reward, device=device, uncertainty_coef=settings.uncertainty_coef)
        reward.requires_grad_(False)
        start = start or member_directories(settings.reward)[0]
    if start is None:
        return None, ScalarModel.from_policy(settings.policy, device=device)
    return reward, ScalarModel.load(start, device=device)
