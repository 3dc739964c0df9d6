"""The body of a preview: any text up to a length, and nothing else."""

from typing import Any

import msgspec
import pytest

from serve.asking.schemas_privacy import MAX_PREVIEW_CHARS, PreviewIn


@pytest.mark.parametrize("text", ["", "a\x00b", "x" * MAX_PREVIEW_CHARS, "日本\n"])
def test_any_text_may_be_previewed(text: str) -> None:
    assert msgspec.convert({"text": text}, PreviewIn).text == text


@pytest.mark.parametrize(
    "given", [{}, {"text": None}, {"text": 1}, {"text": "x" * (MAX_PREVIEW_CHARS + 1)}, {"text": "a", "customer": "b"}]
)
def test_anything_else_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(given, PreviewIn)
