"""The language a prompt is written in, or that it cannot be told.

Lingua's small models, which take 25 MB and well under a millisecond; prompts are short, so only a nearly certain
verdict counts. Knows `LANGUAGES` only: a text in another one is taken for a relative of it, or for none.
"""

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lingua import LanguageDetector

LANGUAGES = (
    *("ar", "cs", "de", "el", "en", "es", "fa", "fi", "fr", "he", "hi", "id"),
    *("it", "ja", "ko", "nl", "pl", "pt", "ru", "sv", "th", "tr", "uk", "vi", "zh"),
)
"""ISO 639-1. More of them make the verdict on short texts worse."""
LOOKED_AT_CHARS = 300
"""What is detected from; more changes the verdict seldom and takes longer."""
LEAST_CONFIDENCE = 0.95
"""With it, one English prompt in a hundred is taken for another language; with 0.5, one in ten."""


def language_of(text: str) -> str:
    """Return the ISO 639-1 code of the language, lower case; empty if undetermined."""
    found = _detector().compute_language_confidence_values(text[:LOOKED_AT_CHARS])[0]
    return found.language.iso_code_639_1.name.lower() if found.value >= LEAST_CONFIDENCE else ""


@cache
def _detector() -> "LanguageDetector":
    from lingua import IsoCode639_1, LanguageDetectorBuilder

    codes = [getattr(IsoCode639_1, code.upper()) for code in LANGUAGES]
    return LanguageDetectorBuilder.from_iso_codes_639_1(*codes).with_low_accuracy_mode().build()
