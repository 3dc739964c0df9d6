"""K different completions of one prompt, asked for over the public API.

Knows HTTP and the completions contract; knows nothing of the ledger, of Celery, or of how often to try again.

One request asks for all completions of one model: the engine then sees the prompt once, and choice ``i`` of a request
with seed ``s`` is what a request for a single completion with seed ``s + i`` would have got, so each completion is
stamped with a seed that reproduces it. It is stamped with the version that the answer names, whatever was asked for.
"""

import asyncio
import hashlib
from typing import Self

import httpx
import msgspec

from feedback.errors import DataError, Forbidden, Overloaded, ServingError, UnknownModel
from feedback.metrics import completions_unused_total, sampling_fallbacks_total
from feedback.records import Comparison, Completion
from workers import likeness, mixtures
from workers.settings import WorkerSettings

RESAMPLES = 2
"""How often near-repetitions are replaced before a comparison is made with fewer completions."""
TOP_P = 1.0
MOST_PER_REQUEST = 9
MAX_RETRY_AFTER_S = 30.0
UNREACHABLE_DELAY_S = 2.0


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    index: int
    message: _Message
    finish_reason: str | None
    token_ids: list[int] | None = None


class _Answer(msgspec.Struct):
    model: str
    choices: list[_Choice]


_decoder = msgspec.json.Decoder(_Answer)


class Sampler:
    """An HTTP client of the API; use as an async context manager."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._client = httpx.AsyncClient(
            base_url=settings.serve_url,
            headers={
                "Authorization": f"Bearer {settings.sampler_key}",
                "X-Whetstone-Consent": "no",
                "X-Priority": "background",  # customers first
            },
            timeout=httpx.Timeout(settings.sampling_attempt_s, connect=2.0),
            limits=httpx.Limits(max_connections=settings.sampling_in_flight),
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def sample(self, comparison: Comparison, attempt: int, models: list[str]) -> list[Completion]:
        """Return up to K different completions, shared out over the models in turn.

        Texts that are empty or nearly repeat an earlier one (`workers.likeness`) are asked for again, `RESAMPLES`
        times; after that fewer than K are returned. If not even two are different, one that is at least not equal
        stays, marked with ``similar_to``. A version that no replica holds is replaced by ``live``.

        Args:
            comparison: what to sample for.
            attempt: number of this attempt; other attempts use other seeds.
            models: aliases and versions.

        Raises:
            Overloaded: the API is down or out of capacity.
            Forbidden: the API does not take the sampler's key.
            UnknownModel: no slot holds ``live``.
            DataError: the API refuses the prompt.
            ServingError: the API failed.
        """
        missing = mixtures.shared_out(models, comparison.k)
        gathered = _Gathered()
        for again in range(1 + RESAMPLES):
            spare = 2 if again else 1
            asked = {model: min(count * spare, MOST_PER_REQUEST) for model, count in missing.items()}
            answers = await asyncio.gather(
                *(self._ask_or_live(comparison, model, count, attempt, again) for model, count in asked.items())
            )
            for model, answer in zip(asked, answers, strict=True):
                missing[model] -= gathered.add(answer, most=missing[model])
            missing = +missing
            if not missing:
                break
        return gathered.completions()

    async def sample_each(self, comparison: Comparison, attempt: int) -> list[Completion]:
        """Return one completion of each of the comparison's versions, in their order, whatever it says.

        For policies that are compared with each other: nothing is asked for twice, because that would favour the one
        whose first answer was poor, and no other version may answer instead.

        Raises:
            WhetstoneError: as `sample`; UnknownModel for any of the versions.
        """
        answers = await asyncio.gather(*(self._ask(comparison, model, 1, attempt, 0) for model in comparison.models))
        for model, answer in zip(comparison.models, answers, strict=True):
            if [completion.policy_version for completion in answer] != [model]:
                raise ServingError(f"asked {model} for one completion and got {len(answer)} of another version")
        return [answer[0] for answer in answers]

    async def _ask_or_live(
        self, comparison: Comparison, model: str, count: int, attempt: int, again: int
    ) -> list[Completion]:
        try:
            return await self._ask(comparison, model, count, attempt, again)
        except UnknownModel:
            if model == mixtures.LIVE:
                raise
            sampling_fallbacks_total.labels(alias=mixtures.kind_of(model)).inc()
            return await self._ask(comparison, model, count, attempt, again, instead=mixtures.LIVE)

    async def _ask(
        self, comparison: Comparison, model: str, count: int, attempt: int, again: int, instead: str = ""
    ) -> list[Completion]:
        seed = seed_of(comparison.id, model, attempt, again)
        body = {
            "model": instead or model,
            "messages": [msgspec.structs.asdict(message) for message in comparison.messages],
            "n": count,
            "seed": seed,
            "temperature": self._settings.sampling_temperature,
            "top_p": TOP_P,
            "max_tokens": self._settings.sampling_max_tokens,
            "return_token_ids": True,
        }
        try:
            response = await self._client.post("/v1/chat/completions", json=body)
        except httpx.HTTPError as error:
            raise Overloaded(f"no answer from {self._settings.serve_url}: {error!r}", UNREACHABLE_DELAY_S) from error
        _check_status(response)
        return self._read(response, seed)

    def _read(self, response: httpx.Response, seed: int) -> list[Completion]:
        try:
            answer = _decoder.decode(response.content)
        except msgspec.MsgspecError as error:
            raise ServingError(f"the API answered something that is no completion: {error}") from error
        version = response.headers.get("X-Policy-Version", answer.model)
        if version != answer.model:
            raise ServingError(f"the API names two versions for one answer: {version!r} and {answer.model!r}")
        return [
            Completion(
                text=choice.message.content or "",
                policy_version=version,
                seed=seed + choice.index,
                temperature=self._settings.sampling_temperature,
                finished=choice.finish_reason == "stop",
                tokens=len(choice.token_ids or []),
                top_p=TOP_P,
                max_tokens=self._settings.sampling_max_tokens,
            )
            for choice in sorted(answer.choices, key=lambda choice: choice.index)
        ]


def seed_of(comparison_id: str, model: str, attempt: int, again: int) -> int:
    """Return the seed of one request, below 2**31 - 16 so that a request's choices may add their index."""
    text = f"{comparison_id}:{model}:{attempt}:{again}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) % (2**31 - 16)


class _Gathered:
    """Completions that were sampled for one comparison so far: different ones, and near-repetitions of them."""

    def __init__(self) -> None:
        self._different: list[Completion] = []
        self._similar: list[Completion] = []

    def add(self, answer: list[Completion], most: int) -> int:
        """Take up to ``most`` completions that differ from all before; return how many."""
        before = len(self._different)
        for completion in answer:
            if len(self._different) - before == most:
                break
            if not completion.text.strip():
                completions_unused_total.labels(reason="empty").inc()
                continue
            twin = likeness.twin(completion.text, [each.text for each in self._different])
            if twin is None:
                self._different.append(completion)
                continue
            equal = completion.text.strip() == self._different[twin].text.strip()
            completions_unused_total.labels(reason="equal" if equal else "similar").inc()
            if not equal:
                self._similar.append(msgspec.structs.replace(completion, similar_to=twin))
        return len(self._different) - before

    def completions(self) -> list[Completion]:
        """Return the different ones; if that is but one, with one that is not quite the same."""
        return self._different + (self._similar[:1] if len(self._different) == 1 else [])


def _check_status(response: httpx.Response) -> None:
    """Raise the error that the answer's status stands for; return if it is a success."""
    status = response.status_code
    if status == 200:
        return
    detail = f"HTTP {status}: {response.text[:200]}"
    if status in (429, 503, 502, 504):
        raise Overloaded(detail, _retry_after_s(response))
    if status in (401, 403):
        raise Forbidden(f"the API does not take WHETSTONE_SAMPLER_KEY: {detail}")
    if status == 404:
        raise UnknownModel(detail)
    if status in (400, 413, 422):
        raise DataError(f"the API refuses the prompt: {detail}")
    raise ServingError(detail)


def _retry_after_s(response: httpx.Response) -> float:
    try:
        return min(max(float(response.headers["Retry-After"]), 0.1), MAX_RETRY_AFTER_S)
    except (KeyError, ValueError):
        return UNREACHABLE_DELAY_S
