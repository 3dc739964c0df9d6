"""When two completions say the same: nothing would be learned from ranking them.

Pure rules on two texts; knows nothing of sampling, nor of what they were said in answer to.
"""

import re
import unicodedata

from rapidfuzz import fuzz

ALIKE_PERCENT = 95.0
"""Long texts that agree in this share of their characters nearly repeat each other. The share is 2 M / (a + b) for
lengths a and b and a longest common subsequence of M (the indel similarity of RapidFuzz)."""
SHORT_CHARS = 24
"""In texts up to this length one character may be the answer, so they must agree in every letter and digit."""
_PUNCTUATION = re.compile(r"[.,;:!?…\"'`´‘’“”„«»()\[\]\s]+")
_NUMBERS = re.compile(r"\d+")


def normalised(text: str) -> str:
    """Return the text in one case, without punctuation between sentences and words, one space between words."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    words = _PUNCTUATION.sub(" ", folded).strip()
    return words or text.strip()


def alike(one: str, other: str) -> bool:
    """Tell whether two texts nearly repeat each other; texts with different numbers never do."""
    a, b = normalised(one), normalised(other)
    if a == b:
        return True
    if min(len(a), len(b)) <= SHORT_CHARS or _NUMBERS.findall(a) != _NUMBERS.findall(b):
        return False
    return fuzz.ratio(a, b, score_cutoff=ALIKE_PERCENT) > 0


def twin(text: str, earlier: list[str]) -> int | None:
    """Return the index of the first of the ``earlier`` texts that this one nearly repeats, or None."""
    return next((index for index, other in enumerate(earlier) if alike(text, other)), None)
