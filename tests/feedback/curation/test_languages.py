"""Languages: told apart where that is certain, and left open where it is not."""

import subprocess
import sys
from pathlib import Path

import pytest

from feedback.curation.languages import LANGUAGES, LOOKED_AT_CHARS, language_of


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("What is the difference between weather and climate?", "en"),
        ("Was ist der Unterschied zwischen Wetter und Klima?", "de"),
        ("Quelle est la différence entre le temps et le climat ?", "fr"),
        ("¿Cuál es la diferencia entre el tiempo y el clima?", "es"),
        ("Какая разница между погодой и климатом?", "ru"),
        ("天气和气候有什么区别？", "zh"),
        ("天気と気候の違いは何ですか。", "ja"),
        ("날씨와 기후의 차이는 무엇입니까?", "ko"),
    ],
)
def test_a_language_is_told(text: str, language: str) -> None:
    assert language_of(text) == language
    assert language in LANGUAGES


@pytest.mark.parametrize("text", ["", "ok", "12345 67", "🦊", "x = y + 1"])
def test_what_tells_nothing_is_left_open(text: str) -> None:
    assert language_of(text) == ""


def test_only_the_beginning_is_looked_at() -> None:
    english = "There is nothing to see here, so please walk on. " * 10
    assert len(english) > LOOKED_AT_CHARS
    assert language_of(english + "Это совсем другой язык. " * 500) == "en"


def test_nothing_is_loaded_before_it_is_used() -> None:
    program = "import sys; import feedback.curation; print(sorted({'lingua', 'presidio_analyzer'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        cwd=Path(__file__).parents[3],
    )
    assert done.stdout.strip() == "[]"
