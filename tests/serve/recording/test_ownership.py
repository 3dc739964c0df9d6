"""The directory is ours alone, or the process refuses to start and says why."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from feedback.errors import ConfigError
from serve.recording.ownership import own, require_plain_file
from tests.conftest import ROOT


def test_a_missing_directory_is_made_for_us_alone(tmp_path: Path) -> None:
    os.close(own(tmp_path / "deep" / "spool"))
    assert stat.S_IMODE((tmp_path / "deep" / "spool").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "deep" / "spool" / "lock").stat().st_mode) == 0o600


def test_a_link_is_refused_wherever_it_points(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "spool").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="is a link"):
        own(tmp_path / "spool")


def test_a_lock_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("precious")
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "lock").symlink_to(tmp_path / "target")
    with pytest.raises(ConfigError, match="cannot use"):
        own(tmp_path / "spool")
    assert (tmp_path / "target").read_text() == "precious"


def test_a_file_in_the_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("")
    with pytest.raises(ConfigError, match="cannot use"):
        own(tmp_path / "spool")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_strangers_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir()
    os.chown(tmp_path / "spool", 12345, 12345)
    with pytest.raises(ConfigError, match="belongs to user 12345"):
        own(tmp_path / "spool")


def test_a_directory_that_we_may_not_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "spool").mkdir(mode=0o500)
    become_somebody = ""
    if os.geteuid() == 0:  # root may write everywhere
        tmp_path.chmod(0o755)
        os.chown(tmp_path / "spool", 12345, 12345)
        become_somebody = "os.setresuid(12345, 12345, 12345);"
    program = "import os; from pathlib import Path; from serve.recording.ownership import own;"
    program += f"os.chdir({str(tmp_path)!r});"
    done = subprocess.run(
        [sys.executable, "-c", program + become_somebody + "own(Path('spool'))"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ConfigError: the spool cannot write to spool" in done.stderr


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    descriptor = own(tmp_path)
    with pytest.raises(ConfigError, match="WHETSTONE_REPLICA"):
        own(tmp_path)
    os.close(descriptor)
    os.close(own(tmp_path))


def test_only_a_plain_file_of_ours_passes(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    require_plain_file(tmp_path / "plain")
    (tmp_path / "link").symlink_to(tmp_path / "plain")
    with pytest.raises(ConfigError, match="is a link"):
        require_plain_file(tmp_path / "link")
