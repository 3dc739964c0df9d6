"""A policy beside others on held-out prompts: what the gate reads before anything is promoted.

``report.json``::

    prompts                      how many prompts were completed by every policy
    temperature, seed
    policies.NAME                for `policy` and every NAME of --against:
        directory
        score_mean               mean reward-model score, or null without one
        kl_nats                  mean over completions of log p / p_reference, nats a completion; null without reference
        kl_to_reference_nats     the same figure: what all releases since the reference have spent together
        kl_to_parent_nats        the same to the policy that training started from; of `policy` only, null without it
        entropy_nats             mean entropy of the next-token distribution, nats a token
        eos_rate                 share of completions that ended with EOS
        length_tokens            mean length, EOS included
        length_score_correlation Spearman's correlation of length and score, or null
        repetition               mean share of a completion's 3-grams that it had said before
        distinct_2               share of different 2-grams over all completions
        pretraining_loss         nats a token on held-out text, or null without text
    win_rate.NAME                {mean, low, high, n}: `policy` against NAME by score, ties half, 95 % by bootstrap
    length_ratio.NAME            mean length of `policy` over that of NAME

``completions.jsonl`` holds every text: ``{"id", "messages", "completions": {NAME: {"text", "token_ids", "finished",
"score"}}}``; ``probe.json`` the policy's own probe (`trainer.stages.probe`).

Knows models and files; the statistics are in ``win_rates``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from feedback.errors import ConfigError, DataError
from trainer.data.reading import BadRows, Counts, Limits, Prompt, read_prompts
from trainer.data.text import read_text_blocks, read_text_documents
from trainer.maths.win_rates import distinct, rank_correlation, repetition, win_rate
from trainer.models.actions import logprobs_at, text_positions
from trainer.models.ensemble import RewardEnsemble, load_reward
from trainer.models.policies import load_policy, load_tokenizer, require_same_tokenizer
from trainer.models.scalar import ScalarModel
from trainer.ppo.experience import Scored, score_rollout
from trainer.ppo.passes import length_batches
from trainer.ppo.step import Text
from trainer.rollouts.rollout import Rollout
from trainer.rollouts.transformers_sampler import TransformersSampler
from trainer.running.checkpoint import write_json
from trainer.running.layout import PROBE_FILE
from trainer.running.progress import Progress
from trainer.running.run import open_run
from trainer.settings.evaluate import EvaluateSettings
from trainer.stages.generate import COMPLETIONS_FILE, completion_rows
from trainer.stages.probe import answer_probe

OWN_NAME = "policy"
"""The evaluated policy's name in the report."""


def run(settings: EvaluateSettings) -> dict[str, Any]:
    """Write ``report.json`` and ``completions.jsonl``; return the report.

    Raises:
        WhetstoneError: an input is missing, unusable or does not fit the others.
    """
    policies = {OWN_NAME: settings.policy} | named_directories(settings.against)
    models = [*policies.values(), *filter(None, (settings.reward, settings.reference, settings.parent))]
    with open_run("evaluate", settings, [*settings.prompts, *settings.pretraining, *models]) as this:
        tokenizer = load_tokenizer(settings.policy)
        for directory in policies.values():
            require_same_tokenizer(tokenizer, load_tokenizer(directory), f"{settings.policy} and {directory}")
        prompts, counts = _held_out_prompts(settings, tokenizer, this.directory)
        text = _held_out_text(settings, tokenizer, this.device)
        reward = load_reward(settings.reward, device=this.device) if settings.reward else None
        anchor = settings.reference or policies.get("reference") or policies.get("sft")
        reference = load_policy(anchor, device=this.device) if anchor else None
        figures: dict[str, dict[str, Any]] = {}
        completions: dict[str, list[dict[str, Any]]] = {}
        with Progress("evaluate", len(policies), this.directory) as progress:
            for number, (name, directory) in enumerate(policies.items(), start=1):
                policy = load_policy(directory, device=this.device)
                rollout, scored = _complete(policy, reference, reward, prompts, tokenizer, settings)
                completions[name] = _rows(rollout, scored, tokenizer)
                loss = text_loss(policy, text, settings.micro_batch_tokens) if text is not None else None
                figures[name] = _figures(rollout, scored, completions[name], has_reference=reference is not None)
                figures[name] |= {"directory": str(directory), "pretraining_loss": loss}
                if name == OWN_NAME:
                    figures[name]["kl_to_parent_nats"] = _kl_to_parent(rollout, policy, policies, settings)
                    own_probe = answer_probe(policy, tokenizer, prompts)
                progress.update(number, {"eos_rate": figures[name]["eos_rate"]})
        report = {
            "prompts": len(prompts),
            "temperature": settings.temperature,
            "seed": settings.seed,
            "policies": figures,
            "win_rate": _win_rates(completions, settings) if reward is not None else {},
            "length_ratio": {
                name: figures[OWN_NAME]["length_tokens"] / figures[name]["length_tokens"]
                for name in policies
                if name != OWN_NAME
            },
            "rows": counts.as_metrics(),
        }
        write_json(this.directory / "report.json", report)
        write_json(this.directory / PROBE_FILE, own_probe)
        _write_completions(this.directory / COMPLETIONS_FILE, prompts, completions)
        return this.finish(report)


def named_directories(against: Sequence[str]) -> dict[str, Path]:
    """``NAME=DIRECTORY`` options as a table.

    Raises:
        ConfigError: an option has another form, or a name occurs twice or is the evaluated policy's.
    """
    found: dict[str, Path] = {}
    for option in against:
        name, separator, directory = option.partition("=")
        if not separator or not name or not directory:
            raise ConfigError(f"--against {option}: expected NAME=DIRECTORY, such as sft=runs/sft")
        if name in found or name == OWN_NAME:
            raise ConfigError(f"--against {option}: the name {name!r} is taken")
        found[name] = Path(directory)
    return found


@torch.no_grad()
def text_loss(policy: PreTrainedModel, text: Text, micro_batch_tokens: int) -> float:
    """Mean negative log-likelihood of the blocks' tokens after the first of each, in nats a token."""
    total, tokens = 0.0, 0
    for rows in length_batches(text.lengths_S, micro_batch_tokens):
        lengths_S = text.lengths_S[rows]
        part_ST = text.ids_ST[rows, : int(lengths_S.max())]
        logprobs_N = logprobs_at(policy, part_ST, text_positions(part_ST, lengths_S), temperature=1.0)
        total -= logprobs_N.double().sum().item()
        tokens += len(logprobs_N)
    return total / tokens


def _held_out_prompts(
    settings: EvaluateSettings, tokenizer: PreTrainedTokenizerBase, directory: Path
) -> tuple[list[Prompt], Counts]:
    counts = Counts(bad=BadRows.of(settings, directory))
    limits = Limits(prompt_tokens=settings.max_prompt_tokens, completion_tokens=settings.max_completion_tokens)
    prompts = [p for p in read_prompts(settings.prompts, tokenizer, limits, counts) if p.split != "train"]
    if not prompts:
        raise DataError(f"{settings.prompts[0]}: every row is of split train; evaluation needs held-out prompts")
    return prompts[: settings.max_prompts or None], counts


def _held_out_text(settings: EvaluateSettings, tokenizer: PreTrainedTokenizerBase, device: torch.device) -> Text | None:
    if not settings.pretraining:
        return None
    read = read_text_blocks if settings.pretraining_packed else read_text_documents
    blocks = read(settings.pretraining, tokenizer, settings.pretraining_block_tokens, seed=settings.seed)
    ids_ST, lengths_S = blocks.take_rows(min(len(blocks), settings.pretraining_blocks))
    return Text(ids_ST.to(device), lengths_S.to(device))


def _complete(
    policy: PreTrainedModel,
    reference: PreTrainedModel | None,
    reward: ScalarModel | RewardEnsemble | None,
    prompts: Sequence[Prompt],
    tokenizer: PreTrainedTokenizerBase,
    settings: EvaluateSettings,
) -> tuple[Rollout, Scored]:
    """One completion of every prompt, the same random numbers for every policy, and its forward passes."""
    sampler = TransformersSampler(
        policy,
        eos_id=int(tokenizer.eos_token_id),
        pad_id=int(tokenizer.pad_token_id),
        max_completion_tokens=settings.max_completion_tokens,
        temperature=settings.temperature,
        batch_size=settings.batch_size,
    )
    rollout = sampler.sample([p.prompt_ids for p in prompts], settings.seed).to(policy.device)
    scored = score_rollout(
        rollout,
        policy=policy,
        reference=reference or policy,
        value=None,
        reward=reward,
        temperature=settings.temperature or 1.0,
        micro_batch_tokens=settings.micro_batch_tokens,
    )
    return rollout, scored


def _kl_to_parent(
    rollout: Rollout, policy: PreTrainedModel, policies: Mapping[str, Path], settings: EvaluateSettings
) -> float | None:
    """Mean KL of the policy's completions to the policy that training started from, in nats a completion."""
    parent = settings.parent or policies.get("parent") or policies.get("live")
    if parent is None:
        return None
    scored = score_rollout(
        rollout,
        policy=policy,
        reference=load_policy(parent, device=policy.device),
        value=None,
        reward=None,
        temperature=settings.temperature or 1.0,
        micro_batch_tokens=settings.micro_batch_tokens,
    )
    return (scored.logprobs_BA - scored.ref_logprobs_BA).sum(1).mean().item()


def _rows(rollout: Rollout, scored: Scored, tokenizer: PreTrainedTokenizerBase) -> list[dict[str, Any]]:
    rows = list(completion_rows(rollout, tokenizer))
    if scored.scores_B is not None:
        for row, score in zip(rows, scored.scores_B.tolist(), strict=True):
            row["score"] = score
    return rows


def _figures(
    rollout: Rollout, scored: Scored, rows: Sequence[dict[str, Any]], *, has_reference: bool
) -> dict[str, Any]:
    """The report's figures of one policy; see the module docstring."""
    lengths = rollout.completion_tokens_B.tolist()
    scores = [row["score"] for row in rows] if scored.scores_B is not None else None
    kl_B = (scored.logprobs_BA - scored.ref_logprobs_BA).sum(1)
    tokens = [row["token_ids"] for row in rows]
    kl_nats = kl_B.mean().item() if has_reference else None
    return {
        "score_mean": sum(scores) / len(scores) if scores else None,
        "kl_nats": kl_nats,
        "kl_to_reference_nats": kl_nats,
        "entropy_nats": (scored.entropies_BA.sum() / sum(lengths)).item(),
        "eos_rate": rollout.finished_B.float().mean().item(),
        "length_tokens": sum(lengths) / len(lengths),
        "length_score_correlation": rank_correlation(lengths, scores) if scores else None,
        "repetition": sum(map(repetition, tokens)) / len(tokens),
        "distinct_2": distinct(tokens),
    }


def _win_rates(completions: dict[str, list[dict[str, Any]]], settings: EvaluateSettings) -> dict[str, Any]:
    own = [row["score"] for row in completions[OWN_NAME]]
    return {
        name: win_rate(own, [row["score"] for row in rows], resamples=settings.bootstrap, seed=settings.seed)
        for name, rows in completions.items()
        if name != OWN_NAME
    }


def _write_completions(path: Path, prompts: Sequence[Prompt], completions: dict[str, list[dict[str, Any]]]) -> None:
    with path.open("w") as file:
        for index, prompt in enumerate(prompts):
            row = {
                "id": prompt.id,
                "messages": prompt.messages,
                "completions": {name: rows[index] for name, rows in completions.items()},
            }
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
