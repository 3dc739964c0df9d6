"""Settings that every process shares: where the ledger, the broker and the artifacts are.

Each process extends `Settings` with its own fields, builds one object at its entry point and hands it down. Values
come from the environment (prefix ``WHETSTONE_``) or a ``.env`` file; a malformed value refuses to start.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from feedback.errors import ConfigError


class Settings(BaseSettings):
    """What all processes need to know."""

    model_config = SettingsConfigDict(env_prefix="WHETSTONE_", env_file=".env", frozen=True, extra="ignore")

    ledger_url: str = "redis://127.0.0.1:6379/0"
    """Redis that holds the records; it must run with ``appendonly yes``, ``appendfsync always``, ``noeviction``."""
    broker_url: str = "redis://127.0.0.1:6380/0"
    """Redis that carries Celery's messages; losing it loses no record."""
    artifact_root: Path = Path("var/artifacts")
    """Directory for snapshots, weights and archives, shared by all processes."""
    interaction_days: int = Field(default=30, ge=1, le=3650)
    """Days for which an interaction can be looked up by its id; curated and archived, it leaves the log after them."""
    ledger_timeout_s: float = Field(default=5.0, gt=0, le=60)
    """Seconds until a call to the ledger counts as failed."""
    key_pepper: SecretStr = SecretStr("")
    """Secret that is mixed into the stored hashes of API keys; all processes need the same one. Set it before the first
    key is made: keys made under another pepper, or none, open nothing."""
    valid_percent: int = Field(default=10, ge=0, le=50)
    """Percent of customers whose prompts are for validation; the same for all processes."""
    test_percent: int = Field(default=10, ge=0, le=50)
    """Percent of customers whose prompts are held out and never labelled; the same for all processes."""
    prompts_per_customer: int = Field(default=200, ge=1)
    """Most prompts kept of one customer."""
    prompt_min_chars: int = Field(default=3, ge=1)
    """Prompts shorter than this are dropped, characters."""
    prompt_max_chars: int = Field(default=4000, ge=1)
    """Prompts longer than this are dropped, characters."""
    prompt_languages: list[str] = []
    """Prompts known to be in another language are dropped; ISO 639-1 codes as JSON, such as ``["en", "de"]``, or none
    for all. A prompt whose language cannot be told is kept."""
    snapshot_labeler_percent: float = Field(default=10.0, gt=0, le=100)
    """Largest part of the training rows of a snapshot that one labeler may have; relaxed where there are too few."""
    snapshot_customer_percent: float = Field(default=0.5, gt=0, le=100)
    """Largest part of the training rows of a snapshot that one customer may have; relaxed where there are too few."""
    snapshot_at_least: int = Field(default=100, ge=1)
    """Rows of one labeler or customer that no cap takes away."""
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")
    """Lowest level that is logged."""

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Return the settings of this process.

        Raises:
            ConfigError: a value is malformed; names the setting, what was found and what was expected.
        """
        try:
            return cls(**overrides)
        except ValidationError as error:
            raise ConfigError("; ".join(_sentence(item["loc"], item) for item in error.errors())) from error


def _sentence(loc: tuple[int | str, ...], item: Mapping[str, Any]) -> str:
    if not loc:  # a rule over several settings: its input is all of them, secrets too
        return str(item["msg"]).removeprefix("Value error, ")
    return f"WHETSTONE_{'_'.join(map(str, loc)).upper()}={item.get('input')!r}: {item['msg']}"
