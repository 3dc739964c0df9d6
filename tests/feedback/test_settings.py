"""Settings: from the environment, checked once, frozen."""

from pathlib import Path
from typing import Self

import pydantic
import pytest

from feedback.errors import ConfigError
from feedback.settings import Settings


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read no ``.env`` of this checkout."""
    monkeypatch.chdir(tmp_path)


def test_without_any_setting_the_defaults_hold() -> None:
    found = Settings.load()
    assert found.ledger_url == "redis://127.0.0.1:6379/0"
    assert found.artifact_root == Path("var/artifacts")


def test_the_environment_overrides_a_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHETSTONE_LEDGER_TIMEOUT_S", "2.5")
    assert Settings.load().ledger_timeout_s == 2.5


def test_a_dotenv_file_is_read_and_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("WHETSTONE_LOG_LEVEL=debug\nWHETSTONE_LEDGER_TIMEOUT_S=3\n")
    monkeypatch.setenv("WHETSTONE_LEDGER_TIMEOUT_S", "4")
    found = Settings.load()
    assert (found.log_level, found.ledger_timeout_s) == ("debug", 4.0)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("WHETSTONE_LEDGER_TIMEOUT_S", "soon"),
        ("WHETSTONE_LEDGER_TIMEOUT_S", "0"),
        ("WHETSTONE_LEDGER_TIMEOUT_S", "-1"),
        ("WHETSTONE_LEDGER_TIMEOUT_S", "61"),
        ("WHETSTONE_LEDGER_TIMEOUT_S", "nan"),
        ("WHETSTONE_LEDGER_TIMEOUT_S", ""),
        ("WHETSTONE_LOG_LEVEL", "loud"),
    ],
)
def test_a_malformed_value_is_refused_naming_key_and_value(
    key: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(key, value)
    with pytest.raises(ConfigError) as caught:
        Settings.load()
    assert key in str(caught.value)
    assert repr(value) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_faults_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHETSTONE_LEDGER_TIMEOUT_S", "soon")
    monkeypatch.setenv("WHETSTONE_LOG_LEVEL", "loud")
    with pytest.raises(ConfigError, match=r"LEDGER_TIMEOUT_S.*LOG_LEVEL"):
        Settings.load()


def test_a_rule_over_several_settings_speaks_for_itself_and_shows_no_other_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Strict(Settings):
        secret: str = ""

        @pydantic.model_validator(mode="after")
        def _rule(self) -> Self:
            raise ValueError("broker and ledger are the same Redis")

    monkeypatch.setenv("WHETSTONE_SECRET", "sesame")
    with pytest.raises(ConfigError) as caught:
        Strict.load()
    assert str(caught.value) == "broker and ledger are the same Redis"


def test_settings_cannot_change_once_read() -> None:
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        Settings.load().log_level = "debug"  # type: ignore[misc]
