"""Conversations that name a labeler group: the message comes first, identity stays, and some are left unnamed."""

from pathlib import Path

import pytest

from feedback.errors import DataError
from trainer.data.conditioning import named_groups, named_prompts, naming
from trainer.data.examples import Limits, PreferenceGroup, Prompt
from trainer.data.reading import render
from trainer.models.policies import load_tokenizer


def test_the_message_comes_before_the_conversation_and_joins_a_system_message_that_is_there() -> None:
    asked = {"role": "user", "content": "Where?"}
    assert naming([asked], "customer") == [{"role": "system", "content": "For customer."}, asked]
    own = {"role": "system", "content": "Be brief."}
    assert naming([own, asked], "customer") == [{"role": "system", "content": "For customer. Be brief."}, asked]


def group(number: int, name: str | None, prompt_ids: list[int], text: str = "Where?") -> PreferenceGroup:
    return PreferenceGroup(
        id=str(number), messages=[{"role": "user", "content": text}], prompt_ids=prompt_ids,
        completions=[[5, 2], [6, 2]], finished=[True, True], pairs=[(0, 1)], labeler_group=name,
    )  # fmt: skip


def test_rows_name_their_group_but_for_a_share_that_the_seed_decides(tiny_policy_dir: Path) -> None:
    tokenizer = load_tokenizer(tiny_policy_dir)
    plain = render(tokenizer, [{"role": "user", "content": "Where?"}])
    groups = [group(number, "brief people", plain) for number in range(400)]
    named = named_groups(groups, tokenizer, Limits(), unnamed_share=0.25, seed=1)
    unnamed = [each.id for each in named if each.prompt_ids == plain]
    assert 70 < len(unnamed) < 130
    assert unnamed == [
        each.id
        for each in named_groups(groups, tokenizer, Limits(), unnamed_share=0.25, seed=1)
        if each.prompt_ids == plain
    ]
    full = render(tokenizer, naming(groups[0].messages, "brief people"))
    assert {tuple(each.prompt_ids) for each in named} == {tuple(plain), tuple(full)}
    assert all(each.messages == groups[0].messages for each in named), "what a label is known by stays"


def test_what_cannot_be_named_stays_as_it_is(tiny_policy_dir: Path) -> None:
    tokenizer = load_tokenizer(tiny_policy_dir)
    plain = render(tokenizer, [{"role": "user", "content": "Where?"}])
    groups = [group(0, None, plain), group(1, "strangers", plain), group(2, "friends", plain)]

    def named(limits: Limits) -> list[bool]:
        found = named_groups(groups, tokenizer, limits, unnamed_share=0.0, seed=0, known={"friends"})
        return [each.prompt_ids != plain for each in found]

    assert named(Limits()) == [False, False, True]
    assert named(Limits(prompt_tokens=len(plain))) == [False, False, False], "too long with the message"


def test_prompts_name_each_of_the_groups_about_as_often(tiny_policy_dir: Path) -> None:
    tokenizer = load_tokenizer(tiny_policy_dir)
    messages = [{"role": "user", "content": "Where?"}]
    prompts = [Prompt(id=str(n), messages=messages, prompt_ids=render(tokenizer, messages)) for n in range(200)]
    named = named_prompts(prompts, ["a", "b"], tokenizer, Limits(), 0)
    counts = [sum(each.messages[0]["content"] == f"For {name}." for each in named) for name in "ab"]
    assert sum(counts) == 200
    assert min(counts) > 70
    assert all(each.prompt_ids == render(tokenizer, each.messages) for each in named[:5])
    assert named_prompts(prompts, [], tokenizer, Limits(), 0) == prompts
    with pytest.raises(DataError, match="once it names a labeler group"):
        named_prompts(prompts, ["a"], tokenizer, Limits(prompt_tokens=len(prompts[0].prompt_ids)), 0)
