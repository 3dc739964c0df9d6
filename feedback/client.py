"""The connection to the ledger: one Redis client, its scripts, and one kind of error when it is down.

Knows how to reach Redis and how records become bytes; knows nothing of what the records mean.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import msgspec
import redis
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from feedback.errors import ConfigError, InvalidRecord, LedgerUnavailable
from feedback.records import Record
from feedback.settings import Settings

SCRIPTS = Path(__file__).parent / "scripts"
R = TypeVar("R", bound=Record)

#: Replies that mean "this Redis takes no writes now" rather than "this call was wrong". redis-py gives some of them a
#: class of their own and takes the code off the message; the others keep their code.
REFUSED = (
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.MasterDownError,
    redis.exceptions.NoPermissionError,
)
REFUSALS = ("MISCONF", "NOREPLICAS")


class Ledger:
    """A handle on the ledger, safe to share between threads."""

    def __init__(self, url: str, timeout_s: float = 5.0, pepper: str = "") -> None:
        """Prepare a client for the Redis at ``url``; connects on first use.

        Args:
            url: where Redis is.
            timeout_s: seconds until a call counts as failed.
            pepper: mixed into the hashes under which secrets are stored here.

        Raises:
            ConfigError: ``url`` is no Redis URL.
        """
        try:
            self.redis = redis.Redis.from_url(
                url,
                decode_responses=True,
                socket_timeout=timeout_s,
                socket_connect_timeout=timeout_s,
                socket_keepalive=True,
                health_check_interval=30,
                # A refused connection is tried again; a timeout is not, or a hung Redis would hold its callers for a
                # multiple of the timeout, and a move whose answer was late would be made twice.
                retry=Retry(
                    ExponentialBackoff(cap=0.5, base=0.05), retries=2, supported_errors=(redis.ConnectionError,)
                ),
            )
        except ValueError as error:
            raise ConfigError(f"ledger_url={url!r} is not a Redis URL: {error}") from error
        self.url = url
        self.pepper = pepper
        self.address = urlsplit(url)._replace(netloc=urlsplit(url).netloc.rpartition("@")[2]).geturl()
        """The URL without a password, for messages."""

    @classmethod
    def of(cls, settings: Settings, timeout_s: float | None = None) -> "Ledger":
        """Return the ledger that the settings name, not reached yet; ``timeout_s`` instead of the settings'."""
        pepper = settings.key_pepper.get_secret_value()
        return cls(settings.ledger_url, timeout_s or settings.ledger_timeout_s, pepper)

    @classmethod
    def connect(cls, settings: Settings) -> "Ledger":
        """Return a ledger that was reached once.

        Raises:
            LedgerUnavailable: nothing answers at ``settings.ledger_url``.
        """
        ledger = cls.of(settings)
        ledger.ping()
        return ledger

    def ping(self) -> None:
        """Check that Redis answers and would take a write.

        Raises:
            LedgerUnavailable: it does not.
        """
        with self.reach():
            self.redis.ping()

    @contextmanager
    def reach(self) -> Iterator[Any]:
        """Yield the Redis client; turn its connection errors and refusals into `LedgerUnavailable`."""
        try:
            yield self.redis
        except (redis.ConnectionError, redis.TimeoutError) as error:
            raise LedgerUnavailable(f"no Redis answers at {self.address}: {error}") from error
        except redis.ResponseError as error:
            if isinstance(error, REFUSED) or str(error).startswith(REFUSALS):
                raise LedgerUnavailable(f"Redis at {self.address} refuses writes: {error}") from error
            raise

    @cached_property
    def _scripts(self) -> dict[str, Any]:
        return {path.stem: self.redis.register_script(_with_shared(path)) for path in SCRIPTS.glob("*.lua")}

    def run(self, script: str, keys: list[str], args: list[Any]) -> Any:
        """Run ``feedback/scripts/<script>.lua`` as one atomic move and return its answer.

        Raises:
            LedgerUnavailable: Redis is down or refuses writes; the move did not happen, or its answer was lost.
        """
        with self.reach():
            return self._scripts[script](keys=keys, args=args)

    def run_many(self, script: str, calls: list[tuple[list[str], list[Any]]]) -> list[Any]:
        """Run a script once for each (keys, arguments), sent together: each is atomic, all of them are not.

        Raises:
            LedgerUnavailable: Redis is down or refuses writes; some of the moves may have happened.
        """
        with self.reach() as client, client.pipeline(transaction=False) as line:
            for keys, args in calls:
                self._scripts[script](keys=keys, args=args, client=line)
            return list(line.execute())

    def get(self, key: str, kind: type[R]) -> R | None:
        """Return the record stored as a string under ``key``, or None."""
        with self.reach() as client:
            return decode_or_none(client.get(key), kind)

    def hget(self, key: str, field: str, kind: type[R]) -> R | None:
        """Return the record stored in a hash field, or None."""
        with self.reach() as client:
            return decode_or_none(client.hget(key, field), kind)

    def hall(self, key: str, kind: type[R]) -> list[R]:
        """Return all records of a hash, oldest id first."""
        with self.reach() as client:
            fields = cast(dict[str, str], client.hgetall(key))
        return [decode(fields[name], kind) for name in sorted(fields)]

    def stream(self, key: str, kind: type[R], after: str = "-", page: int = 1000) -> Iterator[tuple[str, R]]:
        """Yield (entry id, record) of a stream, oldest first, beginning behind the entry ``after``."""
        cursor = after if after == "-" else f"({after}"
        while True:
            with self.reach() as client:
                entries = cast(list[tuple[str, dict[str, str]]], client.xrange(key, cursor, "+", page))
            for entry_id, fields in entries:
                yield entry_id, decode(fields["record"], kind)
            if len(entries) < page:
                return
            cursor = f"({entries[-1][0]}"


def _with_shared(path: Path) -> str:
    """Return a script's text, behind the functions that it says it uses (``-- Uses: name``)."""
    text = path.read_text()
    names = re.findall(r"^-- Uses: (\w+)$", text, re.MULTILINE)
    return "\n".join([*((SCRIPTS / "shared" / f"{name}.lua").read_text() for name in names), text])


def encode(record: Record) -> str:
    """Return the record as JSON.

    Raises:
        InvalidRecord: it could not be read back (a NaN, half a surrogate pair, a value out of range). Refused here
            because one such entry in an append-only stream would stop every reader for good.
    """
    try:
        text = msgspec.json.encode(record)
    except UnicodeEncodeError as error:
        raise InvalidRecord(f"a text of this {type(record).__name__} is not valid Unicode: {error}") from error
    decode(text, type(record))
    return text.decode()


def decode(text: str | bytes, kind: type[R]) -> R:
    """Return the record that ``text`` holds.

    Raises:
        InvalidRecord: the JSON is malformed, a field is unknown, missing or of the wrong type; says which.
    """
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.MsgspecError as error:
        raise InvalidRecord(f"not a {kind.__name__}: {error}") from error


def decode_or_none(text: str | None, kind: type[R]) -> R | None:
    """Return the record that ``text`` holds, or None if there is no text."""
    return None if text is None else decode(text, kind)
