"""The words of the world and its fixed facts; it knows nothing of prompts, people or taste."""

from __future__ import annotations

from typing import Final, NamedTuple

NAMES: Final = ("Mia", "Tom", "Ada", "Ben", "Eva", "Leo", "Zoe", "Sam")
PLACES: Final = ("Rome", "Oslo", "Paris", "Cairo", "Lima", "Tokyo")
FOODS: Final = ("tea", "bread", "soup", "rice", "cake", "fish")
PETS: Final = ("cat", "dog", "parrot", "pony", "rabbit")
COLORS: Final = ("red", "blue", "green", "white", "black", "yellow")
ADJECTIVES: Final = ("quick", "kind", "old", "shy", "brave", "calm")
ANIMALS: Final = ("fox", "cow", "wolf", "bear", "hen", "frog", "spider", "beetle")
TOOLS: Final = ("hammer", "saw", "spade", "drill")
PLANTS: Final = ("rose", "fern", "tulip", "palm")
NUMBERS: Final = ("one", "two", "three", "four", "five", "six", "seven", "eight")
PURPOSES: Final = ("blog", "class", "shop", "book", "team", "club", "school", "job", "show", "game")
"""What a prompt may be for: an opening such as "For my blog: " that does not change the task."""

CATEGORIES: Final[dict[str, tuple[str, ...]]] = {"animal": ANIMALS, "tool": TOOLS, "plant": PLANTS}
CATEGORY_PLURALS: Final = {"animal": "animals", "tool": "tools", "plant": "plants"}


def with_article(noun: str) -> str:
    """The noun after "a" or "an"."""
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


THING_COLORS: Final = {
    "grass": "green", "snow": "white", "coal": "black", "blood": "red", "the sky": "blue", "butter": "yellow",
    "milk": "white", "the sea": "blue", "moss": "green", "gold": "yellow",
}  # fmt: skip
ANIMAL_LEGS: Final = {
    "fox": "four", "cow": "four", "wolf": "four", "bear": "four", "hen": "two", "frog": "four", "spider": "eight",
    "beetle": "six",
}  # fmt: skip

INSULTS: Final = ("fool", "idiot", "moron")
RUDE_REMARKS: Final = (
    "What a stupid question.", "Go away, you fool.", "Do not waste my time, you idiot.", "Shut up, you moron.",
)  # fmt: skip
RUDE_WORDS: Final = ("stupid", "fool", "idiot", "moron", "shut up", "go away")
"""A completion holding one of these is rude; no other sentence of the world holds any."""


class Relation(NamedTuple):
    """One thing that can be said of a person, in every form the world uses."""

    noun: str
    """What ``extract`` asks for: "Find the place"."""
    values: tuple[str, ...]
    says: str
    """Third person, present: "{name} lives in {value}"."""
    said: str
    """Third person, past."""
    i_say: str
    you_say: str
    asks: str
    """The question about another person."""
    i_ask: str
    about: str
    """The indirect question: "where {name} lives"."""
    terse: str


RELATIONS: Final[dict[str, Relation]] = {
    "lives": Relation(
        "place", PLACES, "{name} lives in {value}", "{name} lived in {value}", "I live in {value}",
        "You live in {value}", "Where does {name} live?", "Where do I live?", "where {name} lives", "In {value}",
    ),
    "eats": Relation(
        "food", FOODS, "{name} eats {value}", "{name} ate {value}", "I eat {value}",
        "You eat {value}", "What does {name} eat?", "What do I eat?", "what {name} eats", "Some {value}",
    ),
    "has": Relation(
        "pet", PETS, "{name} has a {value}", "{name} had a {value}", "I have a {value}",
        "You have a {value}", "What pet does {name} have?", "What pet do I have?", "what pet {name} has", "A {value}",
    ),
    "likes": Relation(
        "color", COLORS, "{name} likes {value}", "{name} liked {value}", "I like {value}",
        "You like {value}", "What color does {name} like?", "What color do I like?", "what color {name} likes",
        "The color {value}",
    ),
}  # fmt: skip
