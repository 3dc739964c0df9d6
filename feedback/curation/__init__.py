"""The rules by which what customers ask becomes prompts for labelers: pure functions of plain values.

Consent, length, language, masking of personal data, use case, split and sameness; nothing here knows a storage. The
parts that need large libraries load them when they are first used.
"""

from feedback.curation.masking import Masked, mask, mask_messages
from feedback.curation.rules import Rules, refusal, split_of, text_of, to_prompt

__all__ = [
    "Masked",
    "Rules",
    "mask",
    "mask_messages",
    "refusal",
    "split_of",
    "text_of",
    "to_prompt",
]
