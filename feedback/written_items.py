"""What a written prompt gives for training: prompts of the pool and, of few-shot ones, demonstrations. Pure.

Source: Ouyang et al. 2022, arXiv:2203.02155, section 3.2 (plain, few-shot and user-based prompts) and appendix A.1 (an
instruction with k query/response pairs gives k training items, each with the other pairs shown before its query).
"""

from typing import NamedTuple

from feedback.curation import Rules, decide, language_of, mask_messages, split_of, text_of
from feedback.demonstrations import MAX_CHARS
from feedback.records import Demonstration, Message, Prompt, Shot, WrittenPrompt, utc_now

LEAST_SHOTS, MOST_SHOTS = 2, 16


class Item(NamedTuple):
    """One training item."""

    prompt: Prompt
    text: str
    """By which the pool recognises that it has such a prompt already."""
    demonstration: Demonstration | None


def problem(written: WrittenPrompt) -> str:
    """Return what stands in the way of submitting, in words for the writer; an empty string if nothing does."""
    few_shot = written.kind == "few_shot"
    if not written.text.strip():
        return "write the instruction first" if few_shot else "write the prompt first"
    if few_shot and len(written.shots) < LEAST_SHOTS:
        return f"a few-shot prompt needs at least {LEAST_SHOTS} pairs"
    if few_shot and len(written.shots) > MOST_SHOTS:
        return f"a few-shot prompt has at most {MOST_SHOTS} pairs"
    if not few_shot and written.shots:
        return "only a few-shot prompt has pairs"
    for number, shot in enumerate(written.shots, 1):
        if not shot.query.strip() or not shot.response.strip():
            return f"pair {number} needs both a query and a response"
    queries = [" ".join(shot.query.split()).casefold() for shot in written.shots]
    if len(set(queries)) < len(queries):
        return "two pairs ask the same; each query must differ"
    if sum(map(len, _texts(written))) > MAX_CHARS:
        return f"the prompt is longer than {MAX_CHARS} characters"
    return ""


def customer_of(labeler: str) -> str:
    """Return the customer that a labeler's prompts count as, for caps and splits."""
    return f"labeler:{labeler}"


def items(written: WrittenPrompt, rules: Rules) -> list[Item]:
    """Return the training items of an accepted prompt, personal data masked; their ids follow from its own."""
    stem = written.id.removeprefix("wri_")
    if written.kind != "few_shot":
        messages, masked = mask_messages([Message(role="user", content=written.text)])
        prompt = _prompt(written, f"pro_{stem}", messages, masked, rules)
        return [Item(prompt, text_of(messages), None)]
    return [_few_shot(written, number, f"{stem}-{number}", rules) for number in range(len(written.shots))]


def refusal(made: list[Item], rules: Rules) -> str:
    """Return which item the rules of curation refuse, and why, in words; an empty string if they refuse none."""
    for number, item in enumerate(made, 1):
        decision = decide(item.prompt.messages, True, rules)
        if not decision.accepted:
            return f"item {number}: {decision.explanation}"
    return ""


def _few_shot(written: WrittenPrompt, number: int, stem: str, rules: Rules) -> Item:
    asked = written.shots[number]
    shown = [shot for place, shot in enumerate(written.shots) if place != number]
    said, masked = mask_messages([*conversation(written.text, shown, asked.query), _answer(asked.response)])
    *messages, response = said
    prompt = _prompt(written, f"pro_{stem}", messages, masked, rules)
    demonstration = Demonstration(
        id=f"dem_{stem}",
        created_at=prompt.created_at,
        prompt_id=prompt.id,
        customer=prompt.customer,
        messages=messages,
        response=response.content,
        labeler=written.labeler,
        split=prompt.split,
        source="few_shot",
    )
    # items of one instruction begin alike, so each is recognised by its own query, said first
    return Item(prompt, text_of([messages[-1], *messages[:-1]]), demonstration)


def conversation(instruction: str, shown: list[Shot], query: str) -> list[Message]:
    """Return the turns of a few-shot prompt: the instruction opens it, the pairs shown are turns before the query."""
    asked = [*(shot.query for shot in shown), query]
    asked[0] = f"{instruction}\n\n{asked[0]}"
    turns: list[Message] = []
    for place, text in enumerate(asked):
        turns.append(Message(role="user", content=text))
        if place < len(shown):
            turns.append(_answer(shown[place].response))
    return turns


def _answer(text: str) -> Message:
    return Message(role="assistant", content=text)


def _prompt(written: WrittenPrompt, id: str, messages: list[Message], masked: dict[str, int], rules: Rules) -> Prompt:
    customer = customer_of(written.labeler)
    return Prompt(
        id=id,
        created_at=utc_now(),
        customer=customer,
        messages=messages,
        split=split_of(customer, rules),
        source="labeler",
        author=written.labeler,
        kind=written.kind,
        use_case=written.use_case,
        language=language_of(written.text),
        masked=masked,
    )


def _texts(written: WrittenPrompt) -> list[str]:
    return [written.text, *(text for shot in written.shots for text in (shot.query, shot.response))]
