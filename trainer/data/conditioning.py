"""Conversations that begin by naming whose taste is meant, so that one model holds the tastes of several groups.

Knows messages, labeler groups and chat templates; does not know what is trained on them. What the message looks like in
tokens is the chat template's business; a client that asks for a group's taste sends the same message.

Source: proposed, not tried, in Ouyang et al. 2022, arXiv:2203.02155, sections 5.2 and 5.3.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import replace

from transformers import PreTrainedTokenizerBase

from feedback.errors import DataError
from trainer.data.examples import Limits, Message, PreferenceGroup, Prompt
from trainer.data.reading import render


def naming(messages: Sequence[Message], group: str) -> list[Message]:
    """Return a conversation whose system message names the group, before what it said already."""
    text = f"For {group}."
    if messages and messages[0]["role"] == "system":
        return [{"role": "system", "content": f"{text} {messages[0]['content']}"}, *messages[1:]]
    return [{"role": "system", "content": text}, *messages]


def named_groups(
    groups: Sequence[PreferenceGroup],
    tokenizer: PreTrainedTokenizerBase,
    limits: Limits,
    *,
    unnamed_share: float,
    seed: int,
    known: Collection[str] | None = None,
) -> list[PreferenceGroup]:
    """Return preference groups with prompts that name who judged.

    Args:
        groups: with messages as they were read; these stay as they are, because they are the row's identity.
        tokenizer: renders the conversation.
        limits: a prompt that would be too long with the message is left without it.
        unnamed_share: share of the rows left without it, by hash of seed and id.
        seed: of that hash.
        known: labeler groups that may be named; None for all.
    """
    found = []
    for group in groups:
        name = group.labeler_group
        wanted = bool(name) and (known is None or name in known) and _place(group.id, seed) >= unnamed_share
        ids = render(tokenizer, naming(group.messages, name or "")) if wanted else group.prompt_ids
        found.append(replace(group, prompt_ids=ids if len(ids) <= limits.prompt_tokens else group.prompt_ids))
    return found


def named_prompts(
    prompts: Sequence[Prompt], names: Sequence[str], tokenizer: PreTrainedTokenizerBase, limits: Limits, seed: int
) -> list[Prompt]:
    """Return prompts that each name one of the groups, drawn by hash of seed and id; too long ones are left out.

    Args:
        prompts: to be answered.
        names: labeler groups; all prompts stay as they are without one.
        tokenizer: renders the conversation.
        limits: of the prompts.
        seed: of the draw.

    Raises:
        DataError: every prompt is too long with the message.
    """
    if not names:
        return list(prompts)
    found = []
    for prompt in prompts:
        messages = naming(prompt.messages, names[int(_place(prompt.id, seed) * len(names))])
        ids = render(tokenizer, messages)
        if len(ids) <= limits.prompt_tokens:
            found.append(replace(prompt, messages=messages, prompt_ids=ids))
    if not found:
        raise DataError(f"every prompt is longer than {limits.prompt_tokens} tokens once it names a labeler group")
    return found


def _place(identity: str, seed: int) -> float:
    """A number in [0, 1) that depends on id and seed alone."""
    return int.from_bytes(hashlib.sha256(f"condition:{seed}:{identity}".encode()).digest()[:6], "big") / 2**48
