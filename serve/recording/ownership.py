"""Who may write where: a directory of our own, no links, one process at a time.

What customers asked lies in these files, so nobody else may read them and nobody may point them elsewhere.
"""

import fcntl
import os
import stat
from pathlib import Path

from feedback.errors import ConfigError


def own(directory: Path) -> int:
    """Create the directory, readable by us alone, and lock it for this process; the descriptor holds the lock.

    Raises:
        ConfigError: it cannot be created or written, is a link, is somebody else's, or another process holds it.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = directory.lstat()
        if not stat.S_ISDIR(found.st_mode):
            raise ConfigError(f"{directory} is a link or no directory; the spool needs a directory of its own")
        if found.st_uid != os.geteuid():
            raise ConfigError(f"{directory} belongs to user {found.st_uid}, this process runs as {os.geteuid()}")
        if not os.access(directory, os.W_OK | os.X_OK):
            raise ConfigError(f"the spool cannot write to {directory}")
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise ConfigError(f"the spool cannot use {directory}: {error}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise ConfigError(f"{directory} is in use; give each replica its own WHETSTONE_REPLICA") from error
    return descriptor


def require_plain_file(path: Path) -> None:
    """Refuse a link, a device or a stranger's file where a file of ours should be.

    Raises:
        ConfigError: it is one.
    """
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        raise ConfigError(f"{path} is a link, no plain file, or somebody else's; move it away")
