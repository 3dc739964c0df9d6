import random

from sandbox.template import Template

LIVES = Template("{name} lives in {place}", {"name": ("Mia", "Tom"), "place": ("Rome", "Oslo")})


def test_reading_undoes_filling() -> None:
    slots = {"name": "Tom", "place": "Oslo"}

    assert LIVES.fill(slots) == "Tom lives in Oslo"
    assert LIVES.read("Tom lives in Oslo") == slots


def test_another_sentence_is_not_read() -> None:
    assert LIVES.read("Tom lives in Paris") is None
    assert LIVES.read("Tom lives in Oslo.") is None


def test_a_filled_sentence_begins_with_a_capital_and_is_read_in_any_case() -> None:
    terse = Template("{color}", {"color": ("red", "blue")})

    assert terse.fill({"color": "red"}) == "Red"
    assert terse.read("RED") == {"color": "red"}


def test_drawing_keeps_what_is_given() -> None:
    slots = LIVES.draw(random.Random(0), {"name": "Mia"})

    assert slots["name"] == "Mia"
    assert slots["place"] in {"Rome", "Oslo"}
