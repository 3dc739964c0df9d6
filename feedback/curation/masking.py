"""Personal data in texts, found by Presidio's pattern recognisers and replaced by names like ``<EMAIL_1>``.

Knows e-mail addresses, telephone and card numbers, IBANs, IP addresses, US social security numbers, wallets and
secrets shaped like keys. Does not know people's names or addresses: that needs a language model, which would also
take the names of fruits, places and heroes out of prompts. The recognisers are called directly, without an engine.

Most texts hold none of this, and some recognisers are slow. Each therefore has a guard: a cheap pattern that every
text matches in which the recogniser can find something. The one for addresses takes time with the square of a text
without spaces, so it is shown only what surrounds each @.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from feedback.records import Message

if TYPE_CHECKING:
    from presidio_analyzer import EntityRecognizer

LEAST_SCORE = 0.3
"""Presidio's confidence from which a finding counts; what only has the length of a number is below."""
SEVEN_DIGITS = r"\d(?:\D{0,4}\d){6}"
"""Seven digits with at most four other characters between two; with fewer, no telephone number is believed."""
SECRETS = {
    "key of this service": r"\bws-(?:client|labeler|operator|metrics)-[\w-]{20,}",
    "key of a model service": r"\b(?:sk|pk|rk)[-_](?=[\w-]{0,99}\d)[\w-]{16,}",
    "token of a code forge": r"\b(?:(?:gh[opsur]|hf)_[A-Za-z0-9]{30,}|github_pat_\w{30,}|glpat-[\w-]{20,})",
    "key of a cloud": r"\b(?:A(?:KIA|SIA)[A-Z0-9]{16}|AIza[\w-]{35})\b",
    "token of a chat": r"\bxox[abprs]-[\w-]{10,}",
    "signed web token": r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*",
    "private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
}
"""What secrets look like, beside what Presidio knows."""
ADDRESS_CHARS = 256
"""Longest that an address may be on either side of its @, as in RFC 5321."""
BEFORE_AT = re.compile(rf"[\w!#$%&'*+\-/=?^`{{|}}~.]{{0,{ADDRESS_CHARS}}}\Z")
AFTER_AT = re.compile(rf"@[\w.-]{{0,{ADDRESS_CHARS}}}")
PRIVATE_SUFFIXES = ("corp", "example", "home", "internal", "intranet", "invalid", "lan", "local", "localhost", "test")
"""Endings of domains that are in no public list and still end people's addresses."""


class Found(NamedTuple):
    """One piece of personal data: where it is in the original text, its kind, and the name in its place."""

    start: int
    end: int
    kind: str
    name: str


class Masked(msgspec.Struct, frozen=True, kw_only=True):
    """A text as labelers see it."""

    text: str
    found: dict[str, int] = {}
    """Kind of personal data -> how often it was masked."""
    spans: list[Found] = []
    """What was masked, in the order of the text."""


class _Detector(NamedTuple):
    kind: str
    guard: re.Pattern[str]
    """Every text in which the recogniser finds something matches it."""
    recognizer: "EntityRecognizer"

    def analyze(self, text: str) -> Iterator[tuple[float, int, int]]:
        wanted = list(self.recognizer.supported_entities)
        for found in self.recognizer.analyze(text, wanted, None):  # type: ignore[arg-type]  # no engine, no artifacts
            yield found.score, found.start, found.end


def mask(text: str, names: dict[tuple[str, str], str] | None = None) -> Masked:
    """Return a text with its personal data replaced by names.

    Args:
        text: what somebody wrote.
        names: (kind, value) -> name of what was named already; the same value gets the same name, and new ones are
            added. Hand one dict to all texts of a conversation.
    """
    names = {} if names is None else names
    parts: list[str] = []
    found: dict[str, int] = {}
    spans: list[Found] = []
    at = 0
    for start, end, kind in _winners(text):
        value = kind, text[start:end]
        if value not in names:
            names[value] = f"<{kind.upper()}_{1 + sum(known == kind for known, _ in names)}>"
        parts += [text[at:start], names[value]]
        spans.append(Found(start, end, kind, names[value]))
        found[kind] = found.get(kind, 0) + 1
        at = end
    return Masked(text="".join([*parts, text[at:]]), found=found, spans=spans)


def mask_messages(messages: Sequence[Message]) -> tuple[list[Message], dict[str, int]]:
    """Return a conversation with its personal data masked, and kind -> how often."""
    names: dict[tuple[str, str], str] = {}
    total: dict[str, int] = {}
    masked: list[Message] = []
    for message in messages:
        done = mask(message.content, names)
        masked.append(msgspec.structs.replace(message, content=done.text) if done.found else message)
        for kind, count in done.found.items():
            total[kind] = total.get(kind, 0) + count
    return masked, total


def findings(text: str, guarded: bool = True) -> Iterator[tuple[float, int, int, str]]:
    """Yield (score, start, end, kind) of everything found, overlapping or not, and some things twice.

    Args:
        text: what to look through.
        guarded: skip what the guards rule out; without, the same is found, slower.
    """
    for detector in _detectors():
        if guarded and not detector.guard.search(text):
            continue
        windows = _addresses(text) if guarded and detector.kind == "email" else [(0, len(text))]
        for first, last in windows:
            for score, start, end in detector.analyze(text[first:last]):
                if detector.kind == "phone" and not detector.guard.search(text, start, end):
                    continue
                if score >= LEAST_SCORE:
                    yield score, first + start, first + end, detector.kind


def _addresses(text: str) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of all that an address may be part of: around each @, as far as its characters go."""
    for at in AFTER_AT.finditer(text):
        before = BEFORE_AT.search(text, max(0, at.start() - ADDRESS_CHARS), at.start())
        yield before.start() if before else at.start(), at.end()


def _winners(text: str) -> list[tuple[int, int, str]]:
    """Return (start, end, kind) in the order of the text; where two overlap the surer wins, then the longer."""
    taken: list[tuple[int, int, str]] = []
    for _, start, end, kind in sorted(findings(text), key=lambda each: (-each[0], each[1] - each[2], each[1])):
        if all(end <= other[0] or start >= other[1] for other in taken):
            taken.append((start, end, kind))
    return sorted(taken)


@cache
def _detectors() -> tuple[_Detector, ...]:
    """Build the recognisers, which takes seconds the first time."""
    with _hidden("torch", "transformers", "vllm"):
        from presidio_analyzer import Pattern, PatternRecognizer
        from presidio_analyzer.predefined_recognizers import (
            CreditCardRecognizer,
            CryptoRecognizer,
            EmailRecognizer,
            IbanRecognizer,
            IpRecognizer,
            PhoneRecognizer,
            UsSsnRecognizer,
        )
    import tldextract

    domains = tldextract.TLDExtract(cache_dir=None, suffix_list_urls=(), extra_suffixes=PRIVATE_SUFFIXES)

    class OfflineEmailRecognizer(EmailRecognizer):
        """Looks domains up in the list that its library ships; the original downloads a newer one first."""

        def validate_result(self, pattern_text: str) -> bool:
            return bool(domains(pattern_text).fqdn)

    secrets = PatternRecognizer(
        supported_entity="SECRET",
        patterns=[Pattern(name, shape, 0.95) for name, shape in SECRETS.items()],
        global_regex_flags=re.DOTALL,
    )
    any_secret = "|".join(f"(?:{shape})" for shape in SECRETS.values())
    return (
        _Detector("email", re.compile("@"), OfflineEmailRecognizer()),
        _Detector("phone", re.compile(SEVEN_DIGITS), PhoneRecognizer()),
        _Detector("card", re.compile(r"\d(?:[- ]?\d){11}"), CreditCardRecognizer()),
        _Detector("iban", re.compile(r"[A-Z]{2}[0-9]{2}"), IbanRecognizer()),
        _Detector("ip", re.compile(r"\d\.\d|:[0-9A-Fa-f]{0,4}:"), IpRecognizer()),
        _Detector("ssn", re.compile(r"\d{3}[- .]\d{2}[- .]\d{4}"), UsSsnRecognizer()),
        _Detector("wallet", re.compile(r"(?:bc1|[13])[a-zA-Z0-9]{25}", re.IGNORECASE), CryptoRecognizer()),
        _Detector("secret", re.compile(any_secret, re.DOTALL), secrets),
    )


@contextmanager
def _hidden(*packages: str) -> Iterator[None]:
    """Make packages look as if they were not installed, unless one is loaded already.

    Presidio's root imports all of its recognisers, those on neural networks included where their libraries exist:
    without this, a worker that masks would load them for nothing (400 MB and 14 s where this was written). A process
    with an engine has them anyway, and may be importing them in another thread right now.
    """
    absent = [] if any(name in sys.modules for name in packages) else packages
    for name in absent:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
