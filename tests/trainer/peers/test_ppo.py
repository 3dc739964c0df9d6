"""One real update of TRL 1.12's PPO trainer against ours, on the same models and the same rollout.

``full``: every completion runs to the cap, so that no convention about ends matters and all of it must agree.
``ended``: many completions say EOS; TRL pays the score one slot later than we do, and what follows from that is exact.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from tests.trainer.peers.conftest import EOS, PAD, RESPONSE_TOKENS, Capture, Differences, scalar_model
from trainer.maths.advantages import gae, penalise_missing_eos, token_rewards, whiten
from trainer.maths.logprobs import entropy, kl_k3
from trainer.maths.losses import policy_loss, value_loss
from trainer.ppo.experience import Experience, Scored, make_experience, score_rollout
from trainer.ppo.step import Learner, minibatch_step
from trainer.rollouts.rollout import Rollout, pack_rollout
from trainer.settings.ppo import PpoSettings

BOTH = pytest.mark.parametrize("name", ["full", "ended"])
LOOSE = 2e-5
"""Two forward passes of one model, padded on different sides, and a temperature that TRL raises by 1e-7."""
TIGHT = 5e-6
"""The same numbers through two formulas."""


def rollout_of(capture: Capture) -> Rollout:
    """Return what TRL sampled as our rollout, cut by our own rule."""
    queries = capture.rollout["query_responses"][:, : -capture.rollout["responses"].shape[1]]
    responses = capture.rollout["responses"].tolist()
    logprobs = capture.rollout["logprobs"].tolist()
    prompts = [[token for token in row if token != PAD] for row in queries.tolist()]
    return pack_rollout(prompts, responses, logprobs, eos_id=EOS, pad_id=PAD, policy_version=0)


def scored_by_us(capture: Capture) -> Scored:
    return score_rollout(
        rollout_of(capture),
        policy=LlamaForCausalLM.from_pretrained(capture.models / "policy"),
        reference=LlamaForCausalLM.from_pretrained(capture.models / "reference"),
        value=scalar_model(capture.models / "value"),
        reward=scalar_model(capture.models / "reward"),
        temperature=capture.settings["temperature"],
        micro_batch_tokens=4096,
    )


def settings_of(capture: Capture, **changes: object) -> PpoSettings:
    episodes = len(capture.rollout["scores"])
    theirs = capture.settings
    given = {
        "output": "o", "policy": "p", "prompts": ["q"], "batch_size": episodes, "episodes": episodes,
        "minibatches": theirs["num_mini_batches"], "inner_epochs": theirs["num_ppo_epochs"],
        "kl_coef": theirs["kl_coef"], "clip": theirs["cliprange"], "value_clip": theirs["cliprange_value"],
        "gamma": theirs["gamma"], "gae_lambda": theirs["lam"], "temperature": theirs["temperature"],
        "missing_eos": "subtract", "missing_eos_penalty": theirs["missing_eos_penalty"], "max_grad_norm": 0.0,
    }  # fmt: skip
    return PpoSettings.model_validate(given | changes)


@BOTH
def test_completions_end_where_theirs_do(captures: dict[str, Capture], name: str) -> None:
    capture, rollout = captures[name], rollout_of(captures[name])
    assert torch.equal(rollout.completion_tokens_B, capture.rollout["sequence_lengths"] + 1)
    assert torch.equal(rollout.finished_B, capture.rollout["contain_eos_token"])
    assert torch.equal(rollout.action_mask_BA, capture.mask_BA)
    ended = int((rollout.completion_tokens_B < RESPONSE_TOKENS).sum())
    assert (ended == 0) if name == "full" else (4 <= ended < len(rollout.finished_B)), "choose another EOS weight"


@BOTH
def test_log_probabilities_values_and_scores(captures: dict[str, Capture], name: str, differences: Differences) -> None:
    capture, scored = captures[name], scored_by_us(captures[name])
    mask, theirs = capture.mask_BA, captures[name].rollout
    differences.check("policy's log-probabilities", scored.logprobs_BA[mask], theirs["logprobs"][mask], LOOSE)
    differences.check(
        "reference's log-probabilities", scored.ref_logprobs_BA[mask], theirs["ref_logprobs"][mask], LOOSE
    )
    differences.check("values", scored.values_BA[mask], theirs["values"][mask], LOOSE)
    assert scored.scores_B is not None
    paid = penalise_missing_eos(
        scored.scores_B, theirs["contain_eos_token"], mode="subtract", penalty=capture.settings["missing_eos_penalty"]
    )
    differences.check("scores after the missing-EOS penalty", paid, theirs["scores"], LOOSE)


def rewards_by_us(capture: Capture) -> Tensor:
    theirs = capture.rollout
    return token_rewards(
        theirs["logprobs"], theirs["ref_logprobs"], theirs["scores"], capture.mask_BA,
        kl_coef=capture.settings["kl_coef"],
    )  # fmt: skip


def test_token_rewards_advantages_and_returns(captures: dict[str, Capture], differences: Differences) -> None:
    capture = captures["full"]
    theirs, rewards = capture.rollout, rewards_by_us(capture)
    differences.check("token rewards", rewards, theirs["rewards"], TIGHT)
    advantages, returns = gae(
        rewards, theirs["values"], capture.mask_BA, gamma=capture.settings["gamma"], lam=capture.settings["lam"]
    )
    differences.check("advantages", advantages, theirs["advantages"], TIGHT)
    differences.check("returns", returns, theirs["returns"], TIGHT)
    counted = int(capture.mask_BA.sum())
    ours = whiten(advantages, capture.mask_BA) * math.sqrt((counted - 1) / counted)
    differences.check("whitened advantages, after Bessel's correction", ours, theirs["whitened"], TIGHT)


def test_trl_pays_one_slot_late_and_nothing_else_differs(
    captures: dict[str, Capture], differences: Differences
) -> None:
    """After an EOS that is not the last slot, TRL adds a slot of padding, values it and pays the score there.

    Reading "actions" as TRL does gives its advantages with our function; and ours follow from theirs in closed form:
    at EOS the difference is (1 - lambda) (score - value after EOS), and lambda times less at each step before it.
    """
    capture = captures["ended"]
    theirs, mask, lam = capture.rollout, capture.mask_BA, capture.settings["lam"]
    rewards, last = rewards_by_us(capture), theirs["sequence_lengths"]
    rows = torch.arange(len(last))
    late = last + 1 < mask.shape[1]
    assert 4 <= int(late.sum()) < len(late)
    slot = torch.where(late, last + 1, last)
    moved = rewards.clone()
    moved[rows, last] -= theirs["scores"]
    moved[rows, slot] += theirs["scores"]
    differences.check("token rewards, one slot later", moved, theirs["rewards"], TIGHT)
    differences.check("token rewards, summed over a completion", rewards.sum(1), theirs["rewards"].sum(1), TIGHT)
    advantages, returns = gae(moved, theirs["values"], ~theirs["padding_mask_p1"], gamma=1.0, lam=lam)
    differences.check("advantages, one slot later", advantages, theirs["advantages"], TIGHT)
    differences.check("returns, one slot later", returns, theirs["returns"], TIGHT)
    ours, _ = gae(rewards, theirs["values"], mask, gamma=1.0, lam=lam)
    after_eos = theirs["scores"] - theirs["values"][rows, slot]
    steps_to_eos = (last[:, None] - torch.arange(mask.shape[1])).clamp(min=0)
    closed = torch.where(late, (1 - lam) * after_eos, 0.0)[:, None] * lam**steps_to_eos
    differences.check("advantages, by the closed form", (ours - closed)[mask], theirs["advantages"][mask], TIGHT)
    assert closed.abs().max() > 0.05, "the slot makes no difference to see"


@BOTH
def test_clipped_losses_of_every_step(captures: dict[str, Capture], name: str, differences: Differences) -> None:
    capture = captures[name]
    theirs, settings = capture.rollout, capture.settings
    assert len(capture.steps) == settings["num_ppo_epochs"] * settings["num_mini_batches"]
    clipped = 0.0
    for step in capture.steps:
        rows = step["micro_batch_inds"]
        policy = policy_loss(
            step["new_logprobs"], theirs["logprobs"][rows], theirs["whitened"][rows], capture.mask_BA[rows],
            clip=settings["cliprange"],
        )  # fmt: skip
        differences.check("clipped policy loss", policy.loss, step["pg_loss"], TIGHT)
        differences.check("share of clipped actions", policy.clipfrac, step["pg_clipfrac"], TIGHT)
        value = value_loss(
            step["vpred"], theirs["values"][rows], theirs["returns"][rows], ~theirs["padding_mask_p1"][rows],
            clip=settings["cliprange_value"],
        )  # fmt: skip
        differences.check("clipped value loss", value.loss, step["vf_loss"], TIGHT)
        differences.check("share of clipped values", value.clipfrac, step["vf_clipfrac"], TIGHT)
        clipped += float(policy.clipfrac) + float(value.clipfrac)
    assert clipped > 0.5, "the clip never acted, so it was not compared"


@BOTH
def test_gradients_of_the_first_step(captures: dict[str, Capture], name: str, differences: Differences) -> None:
    """Ours through the real optimizer step of the product; TRL's value gradient holds its coefficient."""
    capture = captures[name]
    theirs, rollout, settings = capture.rollout, rollout_of(capture), settings_of(capture)
    # In `ended` the value loss of TRL counts one slot more than there are actions: only the policy is comparable.
    mask = capture.mask_BA
    experience = Experience(
        input_ids_BT=rollout.input_ids_BT,
        prompt_tokens_B=rollout.prompt_tokens_B,
        lengths_B=rollout.lengths_B,
        mask_BA=mask,
        old_logprobs_BA=theirs["logprobs"].where(mask, torch.tensor(0.0)),
        old_values_BA=theirs["values"].where(mask, torch.tensor(0.0)),
        advantages_BA=theirs["whitened"],
        returns_BA=theirs["returns"].where(mask, torch.tensor(0.0)),
    )
    policy = LlamaForCausalLM.from_pretrained(capture.models / "policy")
    value = scalar_model(capture.models / "value")
    learner = Learner(
        policy=policy,
        value=value,
        policy_optimizer=torch.optim.SGD(policy.parameters(), lr=0.0),
        value_optimizer=torch.optim.SGD(value.parameters(), lr=0.0),
    )
    minibatch_step(learner, experience, capture.steps[0]["micro_batch_inds"], None, settings)
    compared = 0
    for parameter_name, parameter in policy.named_parameters():
        assert parameter.grad is not None
        gradient = capture.gradients[f"policy.{parameter_name}"]
        differences.check("policy's gradient", parameter.grad, gradient, LOOSE)
        compared += int(gradient.abs().max() > 1e-3)
    assert compared > 10
    if name == "full":
        head = value.head.weight.grad
        assert head is not None
        coefficient = capture.settings["vf_coef"]
        differences.check("value model's gradient", coefficient * head, capture.gradients["value.score.weight"], LOOSE)
        for parameter_name, parameter in value.trunk.named_parameters():
            assert parameter.grad is not None
            gradient = capture.gradients[f"value.model.{parameter_name}"]
            differences.check("value model's gradient", coefficient * parameter.grad, gradient, LOOSE)


@BOTH
def test_what_is_logged(captures: dict[str, Capture], name: str, differences: Differences) -> None:
    """KL, reward and entropy of episodes agree; TRL's means over tokens count padding, ours do not."""
    capture = captures[name]
    rollout, scored = rollout_of(capture), scored_by_us(captures[name])
    assert scored.scores_B is not None
    kl_coef = capture.settings["kl_coef"]
    _, ours = make_experience(rollout, scored, scored.scores_B, settings_of(capture), kl_coef=kl_coef)
    for metric in ("objective/kl", "objective/entropy", "objective/non_score_reward", "objective/rlhf_reward"):
        theirs = torch.tensor(capture.logged[metric])
        differences.check(f"logged {metric}", torch.tensor(ours[metric]), theirs, 5 * LOOSE)
    steps, mask = capture.steps, capture.mask_BA
    for metric, columns in (
        ("policy/entropy_avg", [entropy(step["logits"]) for step in steps]),
        ("val/ratio", [step["ratio"] for step in steps]),
    ):
        over_all = torch.stack([each.mean() for each in columns]).mean()
        theirs = torch.tensor(capture.logged[metric])
        differences.check(f"logged {metric}, padding counted", over_all, theirs, LOOSE)
        actions = [each[mask[step["micro_batch_inds"]]].mean() for each, step in zip(columns, steps, strict=True)]
        apart = abs(float(torch.stack(actions).mean() - theirs))
        assert (apart < LOOSE) if name == "full" else (apart > 1e-4), metric


def test_k3_in_the_reward(captures: dict[str, Capture], differences: Differences) -> None:
    """TRL's other estimator, as its source writes it, equals our ``kl_k3``."""
    theirs = captures["full"].rollout
    logr = theirs["ref_logprobs"] - theirs["logprobs"]
    differences.check(
        "KL estimator k3", kl_k3(theirs["logprobs"], theirs["ref_logprobs"]), (logr.exp() - 1) - logr, TIGHT
    )
    differences.check("KL estimator k1", theirs["logprobs"] - theirs["ref_logprobs"], theirs["kl"], TIGHT)
