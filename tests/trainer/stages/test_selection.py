"""The epoch that is kept, and what a resumed run remembers of those before."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import PreTrainedModel

from trainer.models.policies import load_policy, load_tokenizer
from trainer.stages.selection import Selection


def selection(tmp_path: Path, policy: PreTrainedModel, policy_dir: Path, losses: Iterator[float] | None) -> Selection:
    return Selection(
        tmp_path,
        policy,
        load_tokenizer(policy_dir),
        loss=(lambda: next(losses)) if losses else None,
        reward_model=None,
        prompts=[],
        max_completion_tokens=4,
        seed=0,
    )


def mark(policy: PreTrainedModel, epoch: int) -> None:
    with torch.no_grad():
        policy.get_input_embeddings().weight.fill_(float(epoch))


def marked(policy: PreTrainedModel) -> float:
    return float(policy.get_input_embeddings().weight[0, 0].detach())


def test_best_weights_come_back(tmp_path: Path, tiny_policy_dir: Path) -> None:
    policy = load_policy(tiny_policy_dir)
    chosen = selection(tmp_path, policy, tiny_policy_dir, iter([3.0, 1.0, 2.0, 1.0]))
    for epoch in (1, 2, 3, 4):
        mark(policy, epoch)
        chosen.consider(epoch)
    chosen.take_best()
    assert (chosen.best_epoch, marked(policy)) == (2, 2.0)
    assert [path.name for path in tmp_path.iterdir()] == ["best.safetensors"], "a run killed from here on needs it"


def test_last_epoch_is_kept_where_nothing_is_held_out(tmp_path: Path, tiny_policy_dir: Path) -> None:
    policy = load_policy(tiny_policy_dir)
    chosen = selection(tmp_path, policy, tiny_policy_dir, None)
    for epoch in (1, 2):
        mark(policy, epoch)
        chosen.consider(epoch)
    chosen.take_best()
    assert (chosen.criterion, chosen.best_epoch, marked(policy)) == ("last epoch", 2, 2.0)


def test_resumed_selection_remembers_the_better_epoch_before(tmp_path: Path, tiny_policy_dir: Path) -> None:
    policy = load_policy(tiny_policy_dir)
    first = selection(tmp_path, policy, tiny_policy_dir, iter([1.0]))
    mark(policy, 1)
    first.consider(1)
    second = selection(tmp_path, policy, tiny_policy_dir, iter([2.0]))
    second.restore(first.state())
    mark(policy, 2)
    second.consider(2)
    second.take_best()
    assert (second.best_epoch, marked(policy)) == (1, 1.0)


@pytest.mark.parametrize("losses", [[2.0, 2.0], [1.0, 3.0]])
def test_first_of_equal_epochs_is_kept(tmp_path: Path, tiny_policy_dir: Path, losses: list[float]) -> None:
    policy = load_policy(tiny_policy_dir)
    chosen = selection(tmp_path, policy, tiny_policy_dir, iter(losses))
    chosen.consider(1)
    chosen.consider(2)
    assert chosen.best_epoch == 1
