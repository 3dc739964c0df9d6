"""Which files are ours, for tests that read the sources."""

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BINARIES = (".png", ".ico", ".safetensors", ".gz", ".parquet")
PACKAGES = ("feedback", "serve", "workers", "trainer", "sandbox", "deploy")


def files(*endings: str) -> list[Path]:
    """Return all files of the project with one of these endings, relative to its root; all files without any."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    found = sorted({Path(name) for name in listed if (ROOT / name).is_file()})
    return [path for path in found if not endings or path.name.endswith(endings)]


def texts() -> list[Path]:
    """Return all files that hold text, relative to the root."""
    return [path for path in files() if path.suffix not in BINARIES]


def modules() -> list[Path]:
    """Return every module of the packages, relative to the root, without ``__init__.py``."""
    return [path for path in files(".py") if path.parts[0] in PACKAGES and path.name != "__init__.py"]
