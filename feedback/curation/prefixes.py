"""Which prompt repeats another: those that share a long beginning, found without comparing each with each.

The rule is of two texts only, and not symmetrical: it asks how much of the *new* text a kept one begins with. In
sorted order all texts with the same beginning stand side by side, so one look at the place where that beginning
belongs decides. `PrefixIndex` does so in memory; the script ``keep`` does so in the ledger with the same two strings.

Source: Ouyang et al. 2022, arXiv:2203.02155, appendix A.2 ("deduplicate prompts by checking for prompts that share a
long common prefix"); how long is not said there.
"""

from sortedcontainers import SortedList

LONG_CHARS = 200
"""A common beginning of this many characters always makes a repetition."""
SHORT_CHARS = 80
"""Texts shorter than this repeat only what is identical: short questions often differ in their last word."""
TENTHS = 9
"""Of a text in between, so many tenths must be in common."""
END = "\0"
"""Ends a text in an index; no text holds it, and it sorts before everything."""


def needed(length: int) -> int:
    """Return how many leading characters a new text of this length must share with a kept one to repeat it."""
    if length < SHORT_CHARS:
        return length
    return min(LONG_CHARS, max(SHORT_CHARS, -(-length * TENTHS // 10)))


def probe(text: str) -> str:
    """Return what the entry of a kept text begins with if, and only if, ``text`` repeats it."""
    return text[: needed(len(text))] + (END if len(text) < SHORT_CHARS else "")


def entry(text: str, id: str = "") -> str:
    """Return what an index holds of a kept text: as much as any probe can ask for, and whose it is."""
    return text[:LONG_CHARS] + END + id


class PrefixIndex:
    """The beginnings of kept texts, in memory; about 0.4 kB each.

    Every probe and entry that can match share their first `SHORT_CHARS` characters. Texts are looked up by those, and
    only among several with the same does order decide; nearly all stand alone.
    """

    def __init__(self) -> None:
        self._entries: dict[str, str | SortedList[str]] = {}

    def repeats(self, text: str) -> bool:
        """Tell whether a text repeats one that was added."""
        wanted = probe(text)
        found = self._entries.get(wanted[:SHORT_CHARS])
        if found is None:
            return False
        if isinstance(found, str):
            return found.startswith(wanted)
        place = found.bisect_left(wanted)
        return place < len(found) and bool(found[place].startswith(wanted))

    def add(self, text: str) -> bool:
        """Add a text unless it repeats one; return whether it was added."""
        wanted = probe(text)
        head = wanted[:SHORT_CHARS]
        found = self._entries.get(head)
        if found is None:
            self._entries[head] = entry(text)
        elif isinstance(found, str):
            if found.startswith(wanted):
                return False
            self._entries[head] = SortedList((found, entry(text)))
        elif self.repeats(text):
            return False
        else:
            found.add(entry(text))
        return True
