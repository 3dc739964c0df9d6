"""What the ledger last said, kept in a file beside the spool, so that a restart serves while the ledger is down.

Holds where the aliases pointed, the records of the policies they name, and the keys that the ledger confirmed (the
SHA-256 of each secret, as in the ledger). Good for a bounded time; the ledger's own word always replaces it.
"""

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock

import msgspec

from feedback.client import decode
from feedback.errors import InvalidRecord
from feedback.log import get
from feedback.records import ApiKey, Policy, Record

FILE = "memory.json"
MAX_KEYS = 2_000
"""Most keys that are remembered; the one that was confirmed longest ago goes first."""
CONFIRMED_S = 60.0
"""A key confirmed again sooner than this is not written again."""
log = get(__name__)


class Confirmed(Record, frozen=True, kw_only=True):
    """A key and when the ledger confirmed it last, Unix time in seconds."""

    key: ApiKey
    at: float


class Remembered(Record, frozen=True, kw_only=True):
    """The file's content."""

    at: float = 0.0
    """When the ledger last said where the aliases point, Unix time in seconds."""
    aliases: dict[str, str] = {}
    policies: dict[str, Policy] = {}
    keys: dict[str, Confirmed] = {}


class Memory:
    """The file and what is in it; safe to share between threads."""

    def __init__(self, directory: Path, good_for_s: float, now: Callable[[], float] = time.time) -> None:
        """Read what an earlier process left in ``directory``; a file that cannot be read counts as none.

        Args:
            directory: readable by this process's user alone.
            good_for_s: seconds for which the ledger's last word is trusted while it is down; 0 to remember nothing.
            now: Unix time in seconds.
        """
        self._path = directory / FILE
        self._good_for_s = good_for_s
        self._now = now
        self._lock = Lock()
        self._dirty = False
        found = _read(self._path) if good_for_s else Remembered()
        self._at = found.at
        self._aliases = found.aliases
        self._policies = found.policies
        self._keys = found.keys

    def aliases(self) -> dict[str, str] | None:
        """Return where the aliases pointed last, or None if that is not known or too long ago."""
        fresh = self._aliases.get("live") and self._now() - self._at <= self._good_for_s
        return dict(self._aliases) if fresh else None

    def policy(self, version: str) -> Policy | None:
        """Return the record of a policy, if it is known."""
        return self._policies.get(version)

    def key(self, digest: str) -> ApiKey | None:
        """Return the key that the ledger confirmed under this SHA-256 not too long ago, else None."""
        found = self._keys.get(digest)
        return found.key if found is not None and self._now() - found.at <= self._good_for_s else None

    def learn_aliases(self, aliases: Mapping[str, str]) -> None:
        """Take over the ledger's word, and write the file if there is something new; call every now and then."""
        with self._lock:
            if aliases != self._aliases or self._now() - self._at > CONFIRMED_S:
                self._aliases, self._at, self._dirty = dict(aliases), self._now(), True
                named = set(aliases.values())
                self._policies = {version: each for version, each in self._policies.items() if version in named}
        self.flush()

    def learn_policy(self, policy: Policy) -> None:
        """Remember a policy's record."""
        with self._lock:
            self._policies[policy.version] = policy
            self._dirty = True

    def learn_key(self, digest: str, key: ApiKey) -> None:
        """Remember a key that the ledger just confirmed."""
        with self._lock:
            known = self._keys.get(digest)
            if known is not None and known.key == key and self._now() - known.at < CONFIRMED_S:
                return
            self._keys.pop(digest, None)
            self._keys[digest] = Confirmed(key=key, at=self._now())
            if len(self._keys) > MAX_KEYS:
                del self._keys[next(iter(self._keys))]
            self._dirty = True

    def forget_key(self, digest: str) -> None:
        """Forget a key that the ledger refused."""
        with self._lock:
            self._dirty |= self._keys.pop(digest, None) is not None

    def flush(self) -> None:
        """Write the file if something changed; a disk that refuses costs the memory, nothing else."""
        with self._lock:
            if not self._dirty or not self._good_for_s:
                return
            self._dirty = False
            content = Remembered(at=self._at, aliases=self._aliases, policies=self._policies, keys=self._keys)
            draft = self._path.with_suffix(".draft")
            try:
                draft.unlink(missing_ok=True)
                with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                    file.write(msgspec.json.encode(content))
                draft.replace(self._path)
            except OSError as error:
                with suppress(OSError):
                    log.warning("what the ledger said could not be written down", error=str(error))


def _read(path: Path) -> Remembered:
    try:
        return decode(path.read_bytes(), Remembered)
    except FileNotFoundError:
        return Remembered()
    except (OSError, InvalidRecord) as error:
        log.warning("what the ledger said cannot be read; it has to be up at the start", error=str(error))
        return Remembered()
