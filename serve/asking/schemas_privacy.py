"""What the routes of privacy take, beside erasures."""

from typing import Annotated

from msgspec import Meta

from serve.asking.schemas import Body

MAX_PREVIEW_CHARS = 20_000


class PreviewIn(Body, frozen=True, kw_only=True):
    """A text as it would be asked; nothing of it is stored."""

    text: Annotated[str, Meta(max_length=MAX_PREVIEW_CHARS)]
