"""The arms of the paper in miniature: what is made, from what, in which order, as data.

Knows names, dependencies and the settings in which arms differ; does not know how an arm is run
(`benchmarks.paper.arms`) nor what is measured of it (`benchmarks.paper.measure`).

Every arm and seed leaves ``var/paper/seed-S/ARM/result.json``::

    arm, seed, identity (hash of settings and of everything before it), commit, cpu_s, wall_s
    figures   {name: number}, flat
    prompts   {name: [one number a prompt]}, policy arms only; the same prompts in the same order for all arms of a seed
    series    {name: [{column: number}]}

**Policy arms**: ``base``, ``base-few-shot``, ``tasks``, ``sft``, ``start`` and all whose name begins with ``ppo``.

    figures.gold_mean             mean gold score on held-out customers' prompts
    figures.helpful_mean          mean of the gold taste's ``helpful``
    figures.follows_rate          share that answers the question asked
    figures.untrue_rate           share that claims something false
    figures.rude_rate             share that is rude
    figures.rude_respectful_rate  the same where a note before the prompt asks for respect
    figures.stops_rate            share of one sentence that ended by itself
    figures.courtesy_mean         mean of the gold taste's ``courtesy``
    figures.hallucination_rate    share of closed-domain prompts without an answer to which one is invented
    figures.not_stated_rate       share of closed-domain prompts with an answer to which it says that there is none
    figures.length_tokens         mean completion, EOS included
    figures.eos_rate              share of completions that ended by themselves
    figures.entropy_nats          mean entropy of the next token, nats a token
    figures.pretraining_loss      nats a token on held-out text of the corpus
    figures.task_accuracy         mean accuracy over the miniature public tasks, zero-shot; task_accuracy_TASK of each
    figures.task_few_shot_accuracy, task_few_shot_accuracy_TASK   the same with worked examples before the question
    prompts.gold, prompts.rude    of each held-out prompt: gold score; 0 or 1
    prompts.hallucinated          of each unstated prompt: 0 or 1

Win rates of any two policy arms of a seed follow from ``prompts.gold``: ties half.

**PPO arms** have besides (all of the exported, averaged weights, on held-out prompts, unless it says otherwise):

    figures.kl_nats               mean KL of a completion to ``start``
    figures.reward_mean           mean score of the reward model that it was trained on
    figures.start_reward_mean, start_gold_mean, start_pretraining_loss   the same measures of ``start``
    figures.raw_gold_mean, raw_reward_mean, raw_kl_nats, raw_pretraining_loss   of the last weights, not the average
    series.training               {iteration, kl_nats, reward, gold, length_tokens, eos_rate, entropy_nats} of each
                                  iteration's own episodes
    series.points                 {iteration, kl_nats, reward, gold, pretraining_loss} every few iterations, first row
                                  iteration 0 (``start``), on held-out prompts

Arms: ``ppo-ptx`` (the method), ``ppo`` (no pretraining term), ``ppo-large-kl`` (no pretraining term, ten times the KL
coefficient), ``ppo-no-whitening`` (ppo-ptx, advantages not whitened), ``ppo-reward-pairs`` (ppo-ptx against the reward
model of shuffled pairs), ``ppo-long`` (no pretraining term, free KL, many iterations: over-optimisation). EMA off is
``raw_...`` of every arm.

**Reward arms**: ``reward`` (K-wise) and ``reward-pairs`` (the same comparisons as shuffled pairs: each completion takes
K-1 updates an epoch); ``series.epochs`` {epoch, train_loss, train_accuracy, held_out_loss, held_out_accuracy}; the
policies are trained on the model of epoch `REWARD_EPOCH`. The figures below are of it too.

    figures.train_loss, train_accuracy            on the training comparisons, nats a pair and share
    figures.held_out_loss, held_out_accuracy      other customers' prompts, labelers of the training group
    figures.held_out_labelers_accuracy            the same prompts, labelers of the held-out group
    figures.gold_accuracy                         the same prompts, the gold taste
    figures.ceiling, held_out_labelers_ceiling    what a predictor that knows the gold taste would reach on these labels

``reward-fold-0`` to ``reward-fold-4``: trained without the labels of one fifth of the labelers.

    figures.own_accuracy, other_accuracy          held-out prompts, labelled by the labelers trained on; by the others
    figures.own_ceiling, other_ceiling            what a predictor that knows the gold taste would reach

**Before them** come a first round, as in the paper's section 3.2, which trained on answers of PPO policies too:
``comparisons-first`` (half of the prompts, answered by base and SFT), ``reward-first``, ``ppo-first``. In
``comparisons`` some of the completions are ``ppo-first``'s: of a failing that no answer has, no label says that it is
one.

**comparisons**: figures.agreement, agreement_held_out: how often two labelers of the training (held-out) group order
two completions alike; figures.rows, figures.pairs, figures.K_mean.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from trainer.settings.presets import PRESETS, Settings, resolve

VERSION = 6
"""Raised by whoever changes what an arm does or how it is measured: results of another version are made anew."""
PRESET = "sandbox"
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "sft": {},
    "start": {},
    "reward": {},
    "ppo": {"lr": 3e-4, "minibatches": 4, "kl_coef": 0.02, "ptx_coef": 1.5, "ptx_per_episode": 2.0},
}
"""By stage: where all arms differ from the preset."""
FOLDS = 5
REWARD_EPOCH = 2
"""Pass after which a reward model is taken for PPO: with 800 prompts the held-out loss still falls in the second."""
EVERY = 10
"""Iterations between two measurements of a PPO run on held-out prompts."""

Kind = Literal["base", "few-shot", "fine-tune", "comparisons", "reward", "fold", "ppo"]


@dataclass(frozen=True)
class Sizes:
    """How much of everything; one set for figures, one for tests.

    Attributes:
        demonstrations, prompts, text: training rows of each kind.
        tasks: demonstrations of the miniature public tasks.
        ranked: prompts with ranked completions, K from ``least_K`` to ``most_K`` in turn.
        ranked_test: prompts of held-out customers with ranked completions.
        epochs: passes of the reward models whose overfitting is looked at.
        test, unstated, stated: held-out customers' prompts; closed-domain prompts without, and with an answer.
        exercises: of the miniature public tasks, all together.
        text_test: held-out documents of the corpus.
        point_test: held-out prompts of the measurements between the iterations of a PPO run.
        iterations: of PPO; ``first_iterations`` of the policy that answers some of the prompts to be ranked,
            ``long_iterations`` of the run that over-optimises.
    """

    demonstrations: int = 300
    prompts: int = 1600
    text: int = 12000
    tasks: int = 600
    ranked: int = 800
    least_K: int = 4
    most_K: int = 9
    ranked_test: int = 300
    epochs: int = 2
    test: int = 600
    unstated: int = 400
    stated: int = 200
    exercises: int = 300
    text_test: int = 600
    point_test: int = 300
    iterations: int = 60
    first_iterations: int = 30
    long_iterations: int = 150


QUICK = Sizes(
    demonstrations=16, prompts=16, text=32, tasks=16, ranked=12, ranked_test=8, epochs=1, test=8, unstated=4, stated=4,
    exercises=12, text_test=8, point_test=6, iterations=2, first_iterations=2, long_iterations=2,
)  # fmt: skip


@dataclass(frozen=True)
class Arm:
    """One experiment.

    Attributes:
        name: of its directory.
        kind: how it is run.
        needs: arms that come before it.
        options: how its stage differs from the preset.
        iterations: which of the `Sizes` says how many a PPO run has.
    """

    name: str
    kind: Kind
    needs: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    iterations: str = "iterations"


_RL = ("start", "reward")
_FIRST: Mapping[str, Any] = {"ptx_coef": 0.0, "minibatches": 2, "kl_coef": 0.05}
"""Of the first round's policy: with the others' settings it went far from ``start`` and refused nearly every closed
prompt; where it had not gone so far, half as much was invented in the end (seed 100: 0.15 against 0.28)."""
ARMS: tuple[Arm, ...] = (
    Arm("base", "base"),
    Arm("base-few-shot", "few-shot"),
    Arm("sft", "fine-tune", ("base",)),
    Arm("start", "fine-tune", ("base",)),
    Arm("tasks", "fine-tune", ("base",)),
    Arm("comparisons-first", "comparisons", ("sft",)),
    Arm("reward-first", "reward", ("comparisons-first", "sft")),
    Arm("ppo-first", "ppo", ("start", "reward-first"), _FIRST, iterations="first_iterations"),
    Arm("comparisons", "comparisons", ("sft", "ppo-first")),
    Arm("reward", "reward", ("comparisons", "sft")),
    Arm("ppo-ptx", "ppo", _RL),
    Arm("ppo", "ppo", _RL, {"ptx_coef": 0.0}),
    Arm("reward-pairs", "reward", ("comparisons", "sft")),
    Arm("ppo-long", "ppo", _RL, {"ptx_coef": 0.0, "kl_coef": 0.0}, iterations="long_iterations"),
    Arm("ppo-large-kl", "ppo", _RL, {"ptx_coef": 0.0, "kl_coef": 0.2}),
    Arm("ppo-no-whitening", "ppo", _RL, {"whiten_advantages": False}),
    *(Arm(f"reward-fold-{number}", "fold", ("comparisons", "sft")) for number in range(FOLDS)),
    Arm("ppo-reward-pairs", "ppo", ("start", "reward-pairs")),
)
BY_NAME: Mapping[str, Arm] = {arm.name: arm for arm in ARMS}


def wanted(names: Sequence[str]) -> list[Arm]:
    """Return these arms and all that they need, in the plan's order; all arms without names.

    Raises:
        KeyError: there is no such arm.
    """
    found: set[str] = set()

    def add(name: str) -> None:
        if name not in found:
            found.add(name)
            for other in BY_NAME[name].needs:
                add(other)

    for name in names or BY_NAME:
        add(name)
    return [arm for arm in ARMS if arm.name in found]


def settle(stage: str, kind: type[Settings], given: Mapping[str, Any]) -> Settings:
    """Return a stage's settings: the preset's, overridden by the plan's, overridden by what was given."""
    return resolve(stage, kind, PRESET, {**SETTINGS.get(stage, {}), **given})


def digest(said: object) -> str:
    """Return a short hash of plain values."""
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


def identity(arm: Arm, sizes: Sizes, seed: int) -> str:
    """Return what makes two results the same: version, sizes, seed, settings, and those of all that came before."""
    settings = {stage: {**PRESETS[PRESET][stage], **SETTINGS[stage]} for stage in _STAGES[arm.kind]}
    before = {name: identity(BY_NAME[name], sizes, seed) for name in arm.needs}
    return digest([VERSION, arm.name, arm.kind, dict(arm.options), asdict(sizes), seed, settings, before])


_STAGES: Mapping[Kind, tuple[str, ...]] = {
    "base": (),
    "few-shot": (),
    "fine-tune": ("sft", "start"),
    "comparisons": (),
    "reward": ("reward",),
    "fold": ("reward",),
    "ppo": ("ppo",),
}
