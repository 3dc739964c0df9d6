"""The probe: the first prompts, greedy, each token with its log-probability."""

from __future__ import annotations

from pathlib import Path

import torch

from trainer.data.reading import Counts, Limits, read_prompts
from trainer.maths.logprobs import token_logprobs
from trainer.models.policies import load_policy, load_tokenizer
from trainer.stages.probe import PROBE_PROMPTS, PROBE_TOKENS, answer_probe


def test_a_probe_is_the_greedy_answer_with_its_log_probabilities(tiny_policy_dir: Path, prompt_file: Path) -> None:
    policy, tokenizer = load_policy(tiny_policy_dir), load_tokenizer(tiny_policy_dir)
    prompts = read_prompts([prompt_file], tokenizer, Limits(), Counts())
    found = answer_probe(policy, tokenizer, prompts)
    assert len(found) == PROBE_PROMPTS
    for prompt, row in zip(prompts, found, strict=False):
        assert row["messages"] == prompt.messages
        assert 1 <= len(row["token_ids"]) == len(row["logprobs"]) <= PROBE_TOKENS
        ids_BT = torch.tensor([prompt.prompt_ids + row["token_ids"]])
        with torch.no_grad():
            logprobs_BT = token_logprobs(policy, ids_BT, torch.ones_like(ids_BT))
            logits_TV = policy(ids_BT).logits[0]
        start = len(prompt.prompt_ids)
        assert torch.allclose(logprobs_BT[0, start:], torch.tensor(row["logprobs"]), atol=1e-4)
        assert logits_TV[start - 1 : -1].argmax(-1).tolist() == row["token_ids"]
