"""Small functions of TRL 1.12 and closed forms against ours, on random inputs."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Categorical, kl_divergence

from tests.trainer.peers.conftest import EOS, PAD, Differences
from trainer.maths.advantages import whiten
from trainer.maths.logprobs import entropy, kl_k1, kl_k3, masked_mean
from trainer.models.actions import entropies, target_logprobs
from trainer.rollouts.rollout import pack_rollout

FLOAT = 5e-6
"""Of numbers up to 20 in float32, summed in another order."""


def test_log_probabilities_and_entropies(functions: dict[str, Tensor], differences: Differences) -> None:
    logits, tokens = functions["logits"], functions["tokens"]
    ours = target_logprobs(logits.flatten(0, 1), tokens.flatten(), 1.0).view_as(tokens)
    differences.check("log-probability of a token", ours, functions["selective_log_softmax"], FLOAT)
    for spoken in (entropy(logits), entropies(logits.flatten(0, 1), 1.0).view_as(tokens)):
        differences.check("entropy of a distribution", spoken, functions["entropy_from_logits"], FLOAT)


def test_masked_means(functions: dict[str, Tensor], differences: Differences) -> None:
    ours = masked_mean(functions["entries"], functions["mask"])
    differences.check("masked mean", ours, functions["masked_mean"], FLOAT)


def test_whitening_differs_by_bessels_correction_alone(functions: dict[str, Tensor], differences: Differences) -> None:
    """Theirs divides the variance by n - 1, ours by n; both add 1e-8 to it."""
    mask = functions["mask"]
    counted = int(mask.sum())
    bessel = math.sqrt((counted - 1) / counted)
    theirs = functions["masked_whiten"][mask]
    differences.check(
        "whitening, after Bessel's correction", whiten(functions["entries"], mask)[mask] * bessel, theirs, FLOAT
    )
    mean = functions["masked_mean"]
    kept = whiten(functions["entries"], mask, shift_mean=False)[mask]
    theirs = functions["masked_whiten_keeping_mean"][mask]
    differences.check("whitening, after Bessel's correction", (kept - mean) * bessel + mean, theirs, FLOAT)
    assert (whiten(functions["entries"], mask)[mask] - functions["masked_whiten"][mask]).abs().max() > 1e-3


def test_a_completion_ends_after_its_first_eos(functions: dict[str, Tensor]) -> None:
    responses = functions["responses"]
    rows = [row.masked_fill(row == PAD, 5).tolist() for row in responses]  # a sampler never says padding
    rollout = pack_rollout(
        [[3, 4]] * len(rows), rows, [[-1.0] * len(row) for row in rows], eos_id=EOS, pad_id=PAD, policy_version=0
    )
    width = responses.shape[1]
    assert torch.equal(rollout.completion_tokens_B, (functions["first_true_indices"] + 1).clamp(max=width))
    assert torch.equal(rollout.finished_B, functions["first_true_indices"] < width)
    assert 0 < int(rollout.finished_B.sum()) < len(rows)
    truncated = torch.tensor(rows).where(functions["truncate_response"] != PAD, torch.tensor(PAD))
    after = functions["truncate_response"] == PAD
    ours = torch.full_like(responses, PAD)
    for row, completion in enumerate(rollout.completions()):
        ours[row, : len(completion)] = torch.tensor(completion)
    said_padding = responses == PAD
    assert torch.equal(ours[~said_padding], truncated[~said_padding])
    assert torch.equal((ours == PAD)[~said_padding], after[~said_padding])


def test_kl_estimators_have_the_divergence_as_their_mean(differences: Differences) -> None:
    """Over all tokens, each weighted by its probability, k1 and k3 are KL(p || q) exactly: no sampling, no bound."""
    generator = torch.Generator().manual_seed(1)
    p, q = (torch.randn(20, 30, generator=generator).log_softmax(-1) for _ in range(2))
    exact = kl_divergence(Categorical(logits=p), Categorical(logits=q))
    for name, estimator in (("k1", kl_k1), ("k3", kl_k3)):
        differences.check(f"expectation of {name} (closed form)", (p.exp() * estimator(p, q)).sum(-1), exact, 1e-5)
    assert bool((kl_k1(p, q) < 0).any())
    assert not bool((kl_k3(p, q) < 0).any())
