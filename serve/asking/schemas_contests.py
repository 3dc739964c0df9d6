"""What operators send about contests between policies."""

from typing import Annotated

from msgspec import Meta

from serve.asking.schemas import Body, PolicyName, Reason


class ContestIn(Body, frozen=True, kw_only=True):
    """Which two policies labelers are to judge against each other, on how many prompts."""

    a: PolicyName
    b: PolicyName
    prompts: Annotated[int, Meta(ge=1, le=5000)] = 100
    overlap: Annotated[int, Meta(ge=1, le=20)] = 3
    reason: Reason = ""
