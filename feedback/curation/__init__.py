"""The rules by which what customers ask becomes prompts for labelers: pure functions of plain values.

Consent, length, language, masking of personal data, use case, split and sameness; nothing here knows a storage. The
parts that need large libraries load them when they are first used.
"""

from feedback.curation.languages import language_of
from feedback.curation.masking import Masked, mask, mask_messages
from feedback.curation.rules import (
    Decision,
    Rules,
    decide,
    decided_by_pool,
    prompt_id,
    refusal,
    rules_of,
    split_of,
    text_of,
    to_prompt,
)
from feedback.curation.use_cases import use_case

__all__ = [
    "Decision",
    "Masked",
    "Rules",
    "decide",
    "decided_by_pool",
    "language_of",
    "mask",
    "mask_messages",
    "prompt_id",
    "refusal",
    "rules_of",
    "split_of",
    "text_of",
    "to_prompt",
    "use_case",
]
