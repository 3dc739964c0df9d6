"""One request's prompts and what was said to them, from the first draft to the record.

Knows drafts, transcripts and the recorder; nothing of HTTP. Of n > 1 answers to a prompt the first is recorded. Prompts
of token ids are answered, not recorded: nobody could label them.
"""

import asyncio
import time
from collections.abc import Sequence

import msgspec

from feedback.log import get
from feedback.records import ApiKey, Interaction, utc_now
from serve.asking.limits import Asked
from serve.engines.base import Transcript
from serve.recording.recorder import Recorder

BROKEN_OFF = "aborted"
"""Finish reason of an answer that was not waited for, or not in time."""
log = get(__name__)


class Exchange:
    """Drafts of a request, each with its transcript; recorded once, at the end."""

    def __init__(self, recorder: Recorder, drafts: Sequence[Interaction], *, recorded: bool) -> None:
        """Begin; from now on feedback on these interactions is recognised.

        Args:
            recorder: takes what is finished.
            drafts: one for each prompt, in order.
            recorded: False if nothing of this may be kept.
        """
        self._recorder = recorder
        self._drafts = drafts
        self._recorded = recorded
        self._written = False
        self._started = time.perf_counter()
        self.transcripts = [Transcript() for _ in drafts]
        """What the engine writes to."""
        for draft in drafts:
            if self._keeps(draft):
                recorder.begin(draft)

    def _keeps(self, draft: Interaction) -> bool:
        return self._recorded and bool(draft.messages)

    @property
    def tokens(self) -> int:
        """Tokens used so far: prompts and all answers."""
        return sum(said.prompt_tokens + said.sampled_tokens for said in self.transcripts)

    @property
    def seconds(self) -> float:
        """Seconds since the engine was asked."""
        return time.perf_counter() - self._started

    @property
    def empty(self) -> bool:
        """True if some prompt got no text."""
        return any(not said.text.strip() for said in self.transcripts)

    async def record(self) -> None:
        """Hand the interactions to the recorder and wait until they are on disk; the second time does nothing."""
        for writing in self.write():
            await writing

    def write(self, *, usable: bool = True) -> "list[asyncio.Future[bool]]":
        """Hand the interactions to the recorder; return what completes when they are on disk.

        Args:
            usable: False if the answer was an error; then nothing is kept.
        """
        if self._written:
            return []
        self._written = True
        writing = []
        for draft, said in zip(self._drafts, self.transcripts, strict=True):
            if not self._keeps(draft):
                continue
            if usable and _pure(draft, said) and (said.finish_reason or said.completion_tokens):
                writing.append(self._recorder.finish(self._finished(draft, said)))
            else:
                self._recorder.forget(draft.id)
        return writing

    def _finished(self, draft: Interaction, said: Transcript) -> Interaction:
        return msgspec.structs.replace(
            draft,
            completion=said.text,
            finish_reason=said.finish_reason or BROKEN_OFF,
            prompt_tokens=said.prompt_tokens,
            completion_tokens=said.completion_tokens,
            latency_s=self.seconds,
        )


def _pure(draft: Interaction, said: Transcript) -> bool:
    mixed = said.versions - {draft.policy_version}
    if mixed:
        log.error("an answer came from other weights than its stamp", stamp=draft.policy_version, found=sorted(mixed))
    return not mixed


def drafts(asked: Asked, key: ApiKey, answer_id: str, version: str) -> list[Interaction]:
    """Return one draft for each prompt: the first has the answer's id, the others that and their place."""
    return [
        Interaction(
            id=f"{answer_id}-{place}" if place else answer_id,
            created_at=utc_now(),
            customer=key.owner,
            key_id=key.id,
            messages=messages,
            completion="",
            finish_reason="",
            policy_version=version,
            sampling=asked.sampling,
        )
        for place, messages in enumerate(asked.prompts)
    ]
