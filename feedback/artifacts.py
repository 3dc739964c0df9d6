"""Files beside the ledger: atomic directories, each with a manifest of SHA-256 sums.

Knows bytes and names; does not know what a snapshot or a policy is.
"""

import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from feedback.errors import ArtifactCorrupt, ArtifactMissing, Conflict

MANIFEST = "manifest.json"


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_manifest(directory: Path, sums: Mapping[str, str] | None = None) -> str:
    """Write ``manifest.json`` over all other files of ``directory`` and return the manifest's own SHA-256.

    Args:
        directory: whose files to list.
        sums: SHA-256 of files, by relative name, that were hashed as they were written; they are not read again.
    """
    target, known = directory / MANIFEST, sums or {}
    found = {
        str(path.relative_to(directory)): path
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path != target
    }
    files = {
        name: {"sha256": known.get(name) or sha256_of(path), "bytes": path.stat().st_size}
        for name, path in found.items()
    }
    target.write_text(json.dumps({"files": files}, indent=1, sort_keys=True) + "\n")
    return sha256_of(target)


def verify(directory: Path, sha256: str | None = None) -> str:
    """Check every file against the manifest (and the manifest against ``sha256``); return the manifest's SHA-256.

    Raises:
        ArtifactMissing: the directory, its manifest or a listed file is not there.
        ArtifactCorrupt: a sum differs, or a file is there that the manifest does not list.
    """
    manifest = directory / MANIFEST
    if not manifest.is_file():
        raise ArtifactMissing(f"{directory} has no {MANIFEST}")
    found = sha256_of(manifest)
    if sha256 is not None and found != sha256:
        raise ArtifactCorrupt(f"{manifest} has SHA-256 {found[:12]}, its record says {sha256[:12]}")
    listed = _read_manifest(manifest)
    for name, expected in listed.items():
        path = directory / name
        if not path.is_file():
            raise ArtifactMissing(f"{path} is listed in the manifest and is not there")
        if sha256_of(path) != expected:
            raise ArtifactCorrupt(f"{path} does not match its manifest")
    for path in sorted(directory.rglob("*")):
        if path.is_file() and path != manifest and str(path.relative_to(directory)) not in listed:
            raise ArtifactCorrupt(f"{path} is not listed in the manifest; nothing may be added to a finished artifact")
    return found


def _read_manifest(manifest: Path) -> dict[str, str]:
    try:
        return {str(name): str(entry["sha256"]) for name, entry in json.loads(manifest.read_text())["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactCorrupt(f"{manifest} is no manifest: {error}") from error


def sync(path: Path) -> None:
    """Flush a file or directory to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def new_directory(target: Path) -> Iterator[Path]:
    """Yield an empty directory that becomes ``target``, with a manifest, only if the block succeeds.

    Raises:
        Conflict: ``target`` exists; artifacts are never overwritten.
    """
    if target.exists():
        raise Conflict(f"{target} exists; artifacts are never overwritten")
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.parent / f".{target.name}.{uuid.uuid4().hex}.draft"
    draft.mkdir()
    try:
        yield draft
        write_manifest(draft)
        for path in draft.rglob("*"):
            sync(path)
        sync(draft)
        try:
            draft.rename(target)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                raise Conflict(f"{target} was made by somebody else in the meantime") from error
            raise
        sync(target.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def remove_drafts(target: Path) -> None:
    """Remove what processes that died left behind of ``target``; only for a caller that no other writes beside."""
    for draft in target.parent.glob(f".{target.name}.*.draft"):
        shutil.rmtree(draft, ignore_errors=True)
