"""Masking: planted personal data is gone, ordinary text stays, and the guards cost nothing but time."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from feedback.curation.masking import _detectors, findings, mask, mask_messages
from feedback.records import Message
from sandbox.world import make_prompt

PLANTED = [
    ("email", "ada@lovelace.org"),
    ("email", "Bob.Smith+news@mail.example.co.uk"),
    ("email", "eve@wiki.corp"),
    ("phone", "+49 30 901820"),
    ("phone", "(415) 555-2671"),
    ("phone", "020 7946 0958"),
    ("phone", "+33 1 42 68 53 00"),
    ("card", "4111 1111 1111 1111"),
    ("card", "5500-0000-0000-0004"),
    ("card", "340000000000009"),
    ("iban", "DE89 3704 0044 0532 0130 00"),
    ("iban", "GB29NWBK60161331926819"),
    ("ip", "192.168.0.12"),
    ("ip", "2001:db8::ff00:42:8329"),
    ("ip", "::ffff:10.0.0.1"),
    ("ssn", "219-09-9999"),
    ("wallet", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"),
    ("secret", "ws-client-" + "aB3_-" * 8 + "xYz123abc"),
    ("secret", "sk-proj-" + "a1B2c3D4" * 4),
    ("secret", "ghp_" + "A1b2" * 9),
    ("secret", "AKIA" + "ABCDEFGH12345678"),
    ("secret", "-----BEGIN RSA PRIVATE KEY-----\nMIIB\nAAAA\n-----END RSA PRIVATE KEY-----"),
]
ORDINARY = [
    "In 1990, 1991, 1992, 1993 and 1994 there were 1,234,567 people.",
    "On 2024-01-01 12:30:45 the pressure was 1013.25, pi 3.14159265358979.",
    "Compute W@x.T and std::vector<int> a[10:20]; @decorator; x = y @ z",
    "numbers 1 2 3 4 5 6 7 8 9 10 11 12 13",
    "Explain sk-learn-is-a-machine-learning-library to me.",
    "A score of 3:2, at 10:45, in version 1.2.3, section 4.1.",
]


@pytest.mark.parametrize(("kind", "value"), PLANTED)
def test_planted_personal_data_is_masked(kind: str, value: str) -> None:
    text = f"Please note: {value} , and answer."
    masked = mask(text)
    assert masked.text == f"Please note: <{kind.upper()}_1> , and answer."
    assert masked.found == {kind: 1}
    assert [text[each.start : each.end] for each in masked.spans] == [value]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert mask(text).text == text
    assert mask(text).found == {}


def test_prompts_of_the_sandbox_hold_nothing_to_mask() -> None:
    rng = random.Random(4)
    texts = [make_prompt(rng).text for _ in range(2000)]
    assert [text for text in texts if mask(text).text != text] == []


def test_the_same_value_has_the_same_name_in_a_whole_conversation() -> None:
    masked, found = mask_messages(
        [
            Message(role="user", content="I am ada@lovelace.org, he is bob@babbage.org."),
            Message(role="assistant", content="Hello bob@babbage.org!"),
            Message(role="user", content="And eve@babbage.org at 10.1.2.3"),
        ]
    )
    assert [each.content for each in masked] == [
        "I am <EMAIL_1>, he is <EMAIL_2>.",
        "Hello <EMAIL_2>!",
        "And <EMAIL_3> at <IP_1>",
    ]
    assert found == {"email": 4, "ip": 1}
    assert [each.role for each in masked] == ["user", "assistant", "user"]


def test_of_overlapping_findings_the_surer_wins() -> None:
    masked = mask("Write to 4155552671@lovelace.org")
    assert masked.text == "Write to <EMAIL_1>"
    assert {kind for _, _, _, kind in findings("Write to 4155552671@lovelace.org")} == {"email", "phone"}


def test_what_is_masked_stays_masked() -> None:
    once = mask(" and ".join(value for _, value in PLANTED)).text
    assert mask(once).text == once


def test_guards_hide_nothing_that_a_recogniser_finds() -> None:
    rng = random.Random(7)
    for _ in range(400):
        text = _text(rng)
        assert set(findings(text)) == set(findings(text, guarded=False)), text


def test_every_recogniser_has_a_guard_that_passes_over_ordinary_words() -> None:
    assert [each.kind for each in _detectors() if each.guard.search("Name a fruit that grows in the north.")] == []


def test_masking_loads_no_network_of_neurons() -> None:
    program = """
import sys
import time
from feedback.curation import mask
print(mask("a@b.org").text, sorted({"torch", "transformers"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
        cwd=Path(__file__).parents[3],
    )
    assert done.stdout.split() == ["<EMAIL_1>", "[]"]


def _text(rng: random.Random) -> str:
    """Personal data, its fragments with characters changed, digits and words, in any order."""
    pieces = []
    for _ in range(rng.randint(1, 6)):
        value = rng.choice(PLANTED)[1]
        choice = rng.random()
        if choice < 0.3:
            pieces.append(value)
        elif choice < 0.6:
            start = rng.randrange(len(value))
            pieces.append(value[start : start + rng.randint(1, 20)])
        elif choice < 0.8:
            pieces.append("".join(rng.choice("0123456789-. ()+:abcdefAB@@.") for _ in range(rng.randint(1, 30))))
        else:
            pieces.append(rng.choice(ORDINARY))
    return rng.choice(["", " ", "\n"]).join(pieces)


@pytest.mark.parametrize("text", ["a." * 2000 + "@b", "a@" * 2000, "sk-" * 1300, "+49 30 901820 " * 280, "1.1." * 1000])
def test_no_prompt_takes_long(text: str) -> None:
    mask("")
    began = time.process_time()
    mask(text)
    assert time.process_time() - began < 3, "CPU seconds for 4,000 characters of malice"
