"""Log-probabilities by hand, by brute force and in chunks; means and KL estimators."""

import math
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from trainer.maths import logprobs
from trainer.maths.logprobs import entropy, kl_k1, kl_k2, kl_k3, masked_mean, token_logprobs, token_statistics
from trainer.models.policies import load_policy

IDS_BT = torch.randint(3, 300, (3, 12), generator=torch.Generator().manual_seed(0))
ONES_BT = torch.ones_like(IDS_BT)


@pytest.fixture(scope="module")
def policy(tiny_policy_dir: Path) -> PreTrainedModel:
    return load_policy(tiny_policy_dir)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@torch.no_grad()
def test_entry_t_is_the_log_probability_of_token_t_given_those_before(
    policy: PreTrainedModel, temperature: float
) -> None:
    found = token_logprobs(policy, IDS_BT, ONES_BT, temperature)
    assert found.shape == IDS_BT.shape
    assert found[:, 0].eq(0).all()
    for row in range(len(IDS_BT)):
        for t in range(1, IDS_BT.shape[1]):
            logits_V = policy(input_ids=IDS_BT[row : row + 1, :t]).logits[0, -1] / temperature
            expected = logits_V[IDS_BT[row, t]] - logits_V.logsumexp(0)
            assert math.isclose(float(found[row, t]), float(expected), abs_tol=1e-5)


@pytest.mark.parametrize(("before", "after"), [(6, 0), (0, 6), (2, 3)])
@torch.no_grad()
def test_padding_moves_no_log_probability(policy: PreTrainedModel, before: int, after: int) -> None:
    alone = token_logprobs(policy, IDS_BT, ONES_BT)
    ids = torch.nn.functional.pad(IDS_BT, (before, after))
    mask = torch.nn.functional.pad(ONES_BT, (before, after))
    found = token_logprobs(policy, ids, mask)[:, before : before + IDS_BT.shape[1]]
    assert torch.allclose(found[:, 1:], alone[:, 1:], atol=1e-5)


def test_chunks_give_the_same_values_and_gradients(policy: PreTrainedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    weight = policy.get_input_embeddings().weight
    whole = token_statistics(policy, IDS_BT, ONES_BT)
    [gradient] = torch.autograd.grad(whole.logprobs_BT.sum(), [weight])
    monkeypatch.setattr(logprobs, "_CHUNK_NUMBERS", 5 * policy.config.vocab_size)
    parts = token_statistics(policy, IDS_BT, ONES_BT)
    [gradient_in_parts] = torch.autograd.grad(parts.logprobs_BT.sum(), [weight])
    assert torch.allclose(parts.logprobs_BT, whole.logprobs_BT, atol=1e-6)
    assert torch.allclose(parts.entropy_BT, whole.entropy_BT, atol=1e-5)
    assert torch.allclose(gradient_in_parts, gradient, atol=1e-4)


@torch.no_grad()
def test_models_own_logits_are_used_where_it_transforms_them(policy: PreTrainedModel) -> None:
    plain = token_statistics(policy, IDS_BT, ONES_BT)
    policy.config.logit_scale = 0.5  # Llama ignores it, but its presence must switch to the model's own forward
    try:
        assert logprobs.plain_head(policy) is None
        through_model = token_statistics(policy, IDS_BT, ONES_BT)
    finally:
        del policy.config.logit_scale
    assert torch.allclose(plain.logprobs_BT, through_model.logprobs_BT, atol=1e-6)
    assert torch.allclose(plain.entropy_BT, through_model.entropy_BT, atol=1e-5)


@torch.no_grad()
def test_uniform_model_has_entropy_ln_v(policy: PreTrainedModel, tiny_policy_dir: Path) -> None:
    uniform = load_policy(tiny_policy_dir)
    for parameter in uniform.parameters():
        parameter.zero_()
    found = token_statistics(uniform, IDS_BT, ONES_BT)
    ln_v = math.log(uniform.config.vocab_size)
    assert torch.allclose(found.entropy_BT[:, 1:], torch.full_like(found.entropy_BT[:, 1:], ln_v))
    assert torch.allclose(found.logprobs_BT[:, 1:], torch.full_like(found.logprobs_BT[:, 1:], -ln_v))


@torch.no_grad()
def test_bfloat16_logits_are_upcast_before_the_softmax(tiny_policy_dir: Path, policy: PreTrainedModel) -> None:
    rough = load_policy(tiny_policy_dir, dtype=torch.bfloat16)
    found = token_logprobs(rough, IDS_BT, ONES_BT)
    assert found.dtype == torch.float32
    exact = token_logprobs(policy, IDS_BT, ONES_BT)
    assert float((found - exact).abs().mean()) < 3e-2
    # Rounding every log-probability to bfloat16 would leave at most 8 significant bits.
    assert not torch.equal(found, found.bfloat16().float())


def test_temperature_must_be_positive(policy: PreTrainedModel) -> None:
    with pytest.raises(ValueError, match=r"temperature 0.0"):
        token_logprobs(policy, IDS_BT, ONES_BT, temperature=0.0)


def test_entropy_by_hand() -> None:
    logits = torch.tensor([math.log(0.5), math.log(0.25), math.log(0.25)])
    assert math.isclose(float(entropy(logits)), 1.5 * math.log(2), rel_tol=1e-6)


def test_mean_ignores_what_is_masked_even_nan() -> None:
    entries = torch.tensor([[1.0, math.nan], [3.0, math.inf]])
    assert float(masked_mean(entries, torch.tensor([[1, 0], [1, 0]]))) == 2.0
    with pytest.raises(ValueError, match="no entries"):
        masked_mean(entries, torch.zeros(2, 2))


def test_mean_gradient_is_zero_where_masked() -> None:
    entries = torch.tensor([1.0, math.nan, 3.0], requires_grad=True)
    masked_mean(entries, torch.tensor([1, 0, 1])).backward()
    assert entries.grad is not None
    assert entries.grad.tolist() == [0.5, 0.0, 0.5]


def test_estimators_agree_with_a_known_divergence() -> None:
    p, q = torch.tensor([0.6, 0.3, 0.1]), torch.tensor([0.3, 0.3, 0.4])
    true = float((p * (p / q).log()).sum())
    drawn = torch.multinomial(p, 200_000, replacement=True, generator=torch.Generator().manual_seed(0))
    for estimator in (kl_k1, kl_k3):
        values = estimator(p.log()[drawn], q.log()[drawn])
        error = float(values.std()) / math.sqrt(len(values))
        assert abs(float(values.mean()) - true) < 3 * error
    assert float(kl_k1(q.log()[drawn], p.log()[drawn]).mean()) < 0  # k1 keeps its sign
    assert bool((kl_k3(p.log()[drawn], q.log()[drawn]) >= 0).all())
    assert bool((kl_k2(p.log()[drawn], q.log()[drawn]) >= 0).all())


def test_estimators_by_hand() -> None:
    mine, ref = torch.tensor([math.log(0.5)]), torch.tensor([math.log(0.25)])
    assert math.isclose(float(kl_k1(mine, ref)), math.log(2), rel_tol=1e-6)
    assert math.isclose(float(kl_k2(mine, ref)), math.log(2) ** 2 / 2, rel_tol=1e-6)
    assert math.isclose(float(kl_k3(mine, ref)), 0.5 - 1 + math.log(2), rel_tol=1e-5)
