"""The rules by which a logged interaction becomes a prompt, and in words why not.

Source: Ouyang et al. 2022, arXiv:2203.02155, appendix A.2 (200 prompts per organisation, splits by organisation).
"""

import hashlib
import unicodedata
from collections.abc import Sequence

import msgspec

from feedback.curation.languages import language_of
from feedback.curation.masking import mask_messages
from feedback.curation.use_cases import use_case
from feedback.records import Interaction, Message, Prompt, Split, utc_now
from feedback.settings import Settings

MOSTLY_TEXT = 0.9
"""Least share of printable characters."""


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What a prompt must be to be kept."""

    most_per_customer: int = 200
    min_chars: int = 3
    max_chars: int = 4000
    valid_percent: int = 10
    test_percent: int = 10
    languages: list[str] = []
    """ISO 639-1; prompts known to be in another language are refused. Empty for all languages."""


def rules_of(settings: Settings) -> Rules:
    """Return the rules that the settings of a process give."""
    return Rules(
        most_per_customer=settings.prompts_per_customer,
        min_chars=settings.prompt_min_chars,
        max_chars=settings.prompt_max_chars,
        valid_percent=settings.valid_percent,
        test_percent=settings.test_percent,
        languages=settings.prompt_languages,
    )


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """Whether an interaction may become a prompt, and why."""

    reason: str = ""
    """One of a few short names by which refusals are counted; empty if it may."""
    explanation: str

    @property
    def accepted(self) -> bool:
        """Tell whether the rules allow it."""
        return not self.reason


def decide(messages: Sequence[Message], consent: bool, rules: Rules) -> Decision:
    """Return whether a conversation may become a prompt, taken by itself: sameness and caps are the pool's to know."""
    if not consent:
        return _refused("no consent", "The customer, the chat or the request opted out of training.")
    asked = [message.content for message in messages if message.role == "user"]
    if not asked:
        return _refused("no user message", "Nothing was asked: no message is the user's.")
    length = sum(len(content.strip()) for content in asked)
    if length < rules.min_chars:
        return _refused("too short", f"It has {length} characters; at least {rules.min_chars} are needed.")
    if length > rules.max_chars:
        return _refused("too long", f"It has {length} characters; at most {rules.max_chars} are read.")
    last = asked[-1]
    if sum(character.isprintable() or character.isspace() for character in last) < MOSTLY_TEXT * len(last):
        return _refused("not text", "More than a tenth of its characters cannot be printed.")
    language = language_of(last) if rules.languages else ""
    if language and language not in rules.languages:
        wanted = ", ".join(rules.languages)
        return _refused("language", f"It seems to be in the language {language}; labelers read {wanted}.")
    return Decision(
        explanation="It may be kept, unless somebody asked the same before or your share of prompts is full."
    )


def decided_by_pool(outcome: str, rules: Rules) -> Decision:
    """Return in words what the pool said of an allowed prompt: ``kept``, ``duplicate`` or ``customer cap``."""
    if outcome == "duplicate":
        return _refused(outcome, "A prompt that was kept before begins in the same words.")
    if outcome == "customer cap":
        return _refused(
            outcome, f"{rules.most_per_customer} prompts of this customer are kept already; that is the cap."
        )
    return Decision(explanation="It is kept.")


def refusal(interaction: Interaction, rules: Rules) -> str | None:
    """Return the reason why this interaction may not become a prompt, or None if it may."""
    return decide(interaction.messages, interaction.consent, rules).reason or None


def split_of(customer: str, rules: Rules) -> Split:
    """Return the split of a customer: all prompts of one customer fall into one split, for ever."""
    place = int.from_bytes(hashlib.sha256(f"split:{customer}".encode()).digest()[:8]) % 100
    if place < rules.test_percent:
        return "test"
    if place < rules.test_percent + rules.valid_percent:
        return "valid"
    return "train"


def text_of(messages: Sequence[Message]) -> str:
    """Return the conversation as one normalised text, for comparing prompts; it holds no NUL."""
    text = "\n".join(f"{message.role}: {message.content}" for message in messages)
    return " ".join(unicodedata.normalize("NFKC", text).replace("\0", " ").casefold().split())


def prompt_id(interaction_id: str) -> str:
    """Return the id of the prompt that an interaction gives."""
    return f"pro_{interaction_id.removeprefix('int_')}"


def to_prompt(interaction: Interaction, rules: Rules) -> Prompt:
    """Return the prompt that an accepted interaction gives: masked, tagged, in its customer's split.

    Its id follows from the interaction's, so that curating twice gives one prompt.
    """
    messages, masked = mask_messages(interaction.messages)
    last = next((message.content for message in reversed(messages) if message.role == "user"), "")
    tag, _ = use_case(messages)
    return Prompt(
        id=prompt_id(interaction.id),
        created_at=utc_now(),
        customer=interaction.customer,
        messages=messages,
        split=split_of(interaction.customer, rules),
        interaction_id=interaction.id,
        key_id=interaction.key_id,
        use_case=tag,
        language=language_of(last),
        masked=masked,
    )


def _refused(reason: str, explanation: str) -> Decision:
    return Decision(reason=reason, explanation=explanation)
