"""PPO and fine-tuning with adapters: what moves, what is shared, what a checkpoint and a published policy hold."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from feedback import artifacts
from trainer.models.policies import load_policy
from trainer.models.scalar import ScalarModel
from trainer.ppo.job import build_job
from trainer.ppo.ppo import iterate, run_ppo
from trainer.settings.ppo import PpoSettings
from trainer.settings.stages import SftSettings
from trainer.stages import sft

CPU = torch.device("cpu")
SMALL = {
    "batch_size": 16, "minibatches": 4, "episodes": 48, "max_completion_tokens": 10, "lr": 1e-2, "value_lr": 1e-3,
    "ptx_block_tokens": 32, "ptx_per_episode": 1.0, "ptx_coef": 1.0, "threads": 1, "seed": 3, "device": "cpu",
    "warmup_iterations": 2, "lora_rank": 4, "lora_alpha": 8, "ema_decay": 0.5,
}  # fmt: skip


@pytest.fixture
def small(tiny_policy_dir: Path, prompt_file: Path, text_file: Path, tmp_path: Path) -> dict[str, object]:
    return SMALL | {
        "output": tmp_path / "out", "policy": tiny_policy_dir, "prompts": [prompt_file], "pretraining": [text_file],
    }  # fmt: skip


def likes_e(messages: Sequence[object], texts: Sequence[str], finished: Sequence[bool]) -> list[float]:
    """A gold rule: the share of e in the answer, and one for stopping."""
    return [10 * text.count("e") / (1 + len(text)) + end for text, end in zip(texts, finished, strict=True)]


def numbers(*models: torch.nn.Module) -> int:
    """Numbers in memory; what two models share counts once."""
    return sum(
        {
            p.untyped_storage().data_ptr(): p.untyped_storage().nbytes() // 4 for m in models for p in m.parameters()
        }.values()
    )


def test_policy_and_reference_hold_one_set_of_weights_and_only_adapters_move(
    small: dict[str, object], tiny_policy_dir: Path
) -> None:
    settings = PpoSettings.model_validate(small | {"reference": tiny_policy_dir})
    job = build_job(settings, CPU, needs_reward_model=False)
    policy = job.learner.policy
    alone, adapters = numbers(job.reference), sum(p.numel() for p in policy.parameters() if p.requires_grad)
    assert numbers(policy, job.reference) == alone + adapters < 1.2 * alone
    first, second = iterate(job, settings, likes_e), iterate(job, settings, likes_e)
    assert first["objective/kl"] == 0.0
    assert second["objective/kl"] != 0.0
    assert second["sampler/gap_max"] < 1e-4, "the merged weights answer as the adapters do"
    before = load_policy(tiny_policy_dir).state_dict()
    assert all(torch.equal(p, before[name]) for name, p in job.reference.state_dict().items())
    assert all((p.grad is None) != p.requires_grad for p in policy.parameters())
    assert sum(p.numel() for p in job.average.state_dict().values()) == adapters


def test_another_reference_is_a_model_of_its_own(small: dict[str, object], tmp_path: Path) -> None:
    torch.manual_seed(8)
    other = load_policy(Path(str(small["policy"])))
    with torch.no_grad():
        other.get_input_embeddings().weight += 0.1
    other.save_pretrained(tmp_path / "other")
    job = build_job(
        PpoSettings.model_validate(small | {"reference": tmp_path / "other"}), CPU, needs_reward_model=False
    )
    shared = {p.data_ptr() for p in job.reference.parameters()} & {
        p.data_ptr() for p in job.learner.policy.parameters()
    }
    assert not shared
    assert torch.equal(job.reference.get_input_embeddings().weight, other.get_input_embeddings().weight)


def test_an_interrupted_run_publishes_the_same_bits_and_kept_adapters_only(
    small: dict[str, object], tmp_path: Path
) -> None:
    given = small | {"episodes": 6 * 16, "checkpoint_every": 2}
    whole = PpoSettings.model_validate(given | {"output": tmp_path / "whole"})
    broken = PpoSettings.model_validate(given | {"output": tmp_path / "broken"})
    metrics = run_ppo(whole, reward_fn=likes_e)
    calls: list[int] = []

    def fails_at_the_fourth(*arguments: Sequence[object]) -> list[float]:
        calls.append(1)
        if len(calls) == 4:
            raise RuntimeError("the power went")
        return likes_e(*arguments)  # type: ignore[arg-type]

    with pytest.raises(RuntimeError, match="the power went"):
        run_ppo(broken, reward_fn=fails_at_the_fourth)
    kept = sorted((tmp_path / "broken.partial" / "checkpoints").glob("step-*"))
    saved = torch.load(kept[-1] / "tensors.pt", weights_only=True)["modules"]["policy"]
    assert saved
    assert all("lora_" in name for name in saved)
    again = run_ppo(broken, reward_fn=likes_e)
    for name in ("model.safetensors", "adapter/adapter_model.safetensors", "adapter/adapter_config.json"):
        assert (broken.output / name).read_bytes() == (whole.output / name).read_bytes(), name
    assert again["last"]["objective/kl"] == metrics["last"]["objective/kl"] != 0.0
    artifacts.verify(whole.output)
    load_policy(whole.output)


def test_fine_tuning_with_adapters_learns_selects_and_resumes(
    tmp_path: Path, tiny_policy_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"id": str(n), "prompt": f"Question {n}?", "response": "the fox."} for n in range(40)]
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = {
        "policy": tiny_policy_dir, "demonstrations": [tmp_path / "d.jsonl"], "epochs": 3, "batch_size": 8, "lr": 1e-2,
        "lora_rank": 4, "lora_alpha": 8, "lora_dropout": 0.1, "dropout": 0.1, "checkpoint_every": 3, "threads": 1,
        "max_prompt_tokens": 64, "max_completion_tokens": 24, "valid_fraction": 0.2,
    }  # fmt: skip
    whole = sft.run(SftSettings.model_validate(given | {"output": tmp_path / "whole"}))
    losses = {entry["epoch"]: entry["validation_loss"] for entry in whole["epochs"]}
    assert losses[3] < 0.7 * losses[1] or losses[2] < 0.7 * losses[1]
    assert whole["validation_loss"] == pytest.approx(losses[whole["selected_epoch"]])
    broken = SftSettings.model_validate(given | {"output": tmp_path / "broken"})
    calls: list[int] = []
    original = sft.demonstration_loss

    def fails_at_the_eighth(*arguments: object, **options: object) -> torch.Tensor:
        calls.append(1)
        if len(calls) == 8:
            raise RuntimeError("the power went")
        return original(*arguments, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(sft, "demonstration_loss", fails_at_the_eighth)
        with pytest.raises(RuntimeError, match="the power went"):
            sft.run(broken)
    assert sft.run(broken)["epochs"] == whole["epochs"]
    for name in ("model.safetensors", "adapter/adapter_model.safetensors"):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    # The published policy is plain: a reward model and PPO start on it as on any other.
    assert ScalarModel.from_policy(tmp_path / "whole").context_tokens == 256
