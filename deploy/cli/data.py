"""``whetstone data`` and ``whetstone snapshot``: preference data in and out, and what training reads."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO, cast

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from deploy.cli import output
from deploy.cli.session import Actor, Json, ledger
from feedback import exchange, promotion, snapshots
from feedback.curation import rules_of
from feedback.errors import ConfigError, NotFound
from feedback.records import Purpose, Snapshot
from feedback.settings import Settings

READ = ", ".join(name for name, each in exchange.FORMATS.items() if each.read)
WRITTEN = ", ".join(name for name, each in exchange.FORMATS.items() if each.write)
PURPOSES = ("training", "agreement", "evaluation")
SUMMARY = ("source", "rows", "comparisons", "labels", "ratings", "known", "erased")
SnapshotId = Annotated[str, typer.Argument(metavar="SNAPSHOT", help="Id of a snapshot, or `latest`.")]

app = typer.Typer(help="Import and export preference data.", no_args_is_help=True)
snapshot_app = typer.Typer(help="Build, look at and check snapshots, which training reads.", no_args_is_help=True)


@app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="JSON lines or a JSON array, plain or gzip.")],
    source: Annotated[str, typer.Option(help="Name that everything of this file gets, such as `helpdesk-2025`.")],
    format: Annotated[str, typer.Option(help=f"One of {READ}.")] = "whetstone",
    rejects: Annotated[
        Path | None,
        typer.Option(help="Write number and reason of each unused line here, as JSON lines; of the first thousand."),
    ] = None,
    actor: Actor = "",
    as_json: Json = False,
) -> None:
    """Import a file of comparisons; importing it again adds nothing. Lines that cannot be used are named."""
    at, settings = ledger(), Settings.load()
    with _progress(file) as read_so_far:
        made = exchange.take(at, file, source, format, rules_of(settings), read_so_far)
    promotion.note(at, actor, "import", source, f"{made.labels} labels of {made.rows} rows as {format}")
    if rejects is not None:
        rejects.write_text(
            "".join(msgspec.json.encode({"line": line, "reason": why}).decode() + "\n" for line, why in made.lines)
        )
    if as_json:
        output.show_json(made)
        return
    output.show_pairs([(name, getattr(made, name)) for name in SUMMARY])
    for reason, count in sorted(made.quarantined.items(), key=lambda each: -each[1]):
        output.say(f"not used, {reason}: {count} (first in line {_first(made, reason)})")


@app.command("export")
def export_file(
    file: Annotated[Path | None, typer.Argument(help="Where to; standard output if not given.")] = None,
    format: Annotated[str, typer.Option(help=f"One of {WRITTEN}.")] = "whetstone",
    purpose: Annotated[str, typer.Option(help=f"Of the comparisons: {', '.join(PURPOSES)}.")] = "training",
    actor: Actor = "",
) -> None:
    """Write all labels of a purpose in a format; a file that exists is not overwritten."""
    if purpose not in PURPOSES:
        raise ConfigError(f"--purpose {purpose!r} is unknown; choose one of {', '.join(PURPOSES)}")
    if file is not None and file.exists():
        raise ConfigError(f"{file} exists; name a new file")
    at = ledger()
    pieces = exchange.export(at, format, (cast(Purpose, purpose),))
    promotion.note(at, actor, "export", format, purpose)
    if file is None:
        _pour(pieces, sys.stdout.buffer)
        return
    draft = file.with_name(f".{file.name}.draft")
    try:
        with draft.open("wb") as out:
            _pour(pieces, out)
        draft.rename(file)
    finally:
        draft.unlink(missing_ok=True)
    output.say(f"{file}: {file.stat().st_size} bytes")


@snapshot_app.command("build")
def build(
    without: Annotated[
        list[str] | None, typer.Option(help="Leave out rows of `labeler:NAME` or `customer:NAME`; may be repeated.")
    ] = None,
    actor: Actor = "",
    as_json: Json = False,
) -> None:
    """Freeze what the ledger holds now, as the trainer would; with --without, to see what somebody's rows change."""
    for each in without or []:
        if not each.startswith(("labeler:", "customer:")):
            raise ConfigError(f"--without {each!r}: write labeler:NAME or customer:NAME")
    at, settings = ledger(), Settings.load()
    made = snapshots.build(at, settings.artifact_root, snapshots.Caps.of(settings), without or [])
    promotion.note(at, actor, "build snapshot", made.id, " ".join(f"without {each}" for each in made.without))
    _show(made, as_json)


@snapshot_app.command("show")
def show(id: SnapshotId = "latest", as_json: Json = False) -> None:
    """Show what is inside a snapshot, what is not and why."""
    _show(_find(id), as_json)


@snapshot_app.command("verify")
def verify(id: SnapshotId = "latest", as_json: Json = False) -> None:
    """Hash every file and every row of a snapshot again; fails if anything is not as it was."""
    found = _find(id)
    rows = snapshots.verify(found, Settings.load().artifact_root)
    if as_json:
        output.show_json({"id": found.id, "rows": rows, "content_sha256": found.content_sha256})
    else:
        output.say(f"{found.id}: {rows} rows are what they were, content {found.content_sha256[:12]}")


@snapshot_app.command("compare")
def compare(first: SnapshotId, second: SnapshotId, as_json: Json = False) -> None:
    """Show which rows the second snapshot gained and lost against the first, and why."""
    found = snapshots.compare(_find(first), _find(second), Settings.load().artifact_root)
    if as_json:
        output.show_json(found._asdict())
        return
    lost = [(kind, f"- {count}", why) for kind, reasons in found.reasons.items() for why, count in reasons.items()]
    gained = [(kind, f"+ {count}", "") for kind, count in found.gained.items()]
    output.show_table(["KIND", "ROWS", "WHY"], [*gained, *lost])


def _find(id: str) -> Snapshot:
    if id != "latest":
        return snapshots.get(ledger(), id)
    found = snapshots.list_snapshots(ledger())
    if not found:
        raise NotFound("there is no snapshot yet; `whetstone snapshot build` makes one")
    return found[-1]


def _show(found: Snapshot, as_json: bool) -> None:
    if as_json:
        output.show_json(found)
        return
    output.show_pairs(
        [
            ("snapshot", found.id),
            ("made", output.moment(found.created_at)),
            ("comparisons", found.comparisons),
            ("demonstrations", found.demonstrations),
            ("prompts", found.prompts),
            ("content", found.content_sha256),
            ("caps", _caps(found) or "-"),
            *((f"made harmless, {what}", count) for what, count in found.neutralised.items()),
        ]
    )
    rows = [(kind, reason, count) for kind, counts in found.quarantined.items() for reason, count in counts.items()]
    if rows:
        rows.sort(key=lambda row: (row[0], -row[2]))
        output.show_table(["NOT INSIDE", "WHY", "ROWS"], rows)


def _caps(found: Snapshot) -> str:
    """Return the caps in words; a snapshot of before there were any has none."""
    shares = [f"{name} {found.caps[f'{name}_share']:.1%}" for name in ("labeler", "customer", "votes") if found.caps]
    return ", ".join([*shares, f"nobody below {found.caps['at_least']} rows"]) if shares else ""


def _first(made: exchange.Summary, reason: str) -> str:
    return next((str(line) for line, why in made.lines if why == reason), "?")


def _pour(pieces: Iterator[bytes], out: BinaryIO) -> None:
    for piece in pieces:
        out.write(piece)
    out.flush()


@contextmanager
def _progress(file: Path) -> Iterator[Callable[[int], None]]:
    """Show how much of a file was read, on standard error, if somebody looks on; yield what is told so."""
    columns = (TextColumn("reading"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("reading", total=file.stat().st_size if file.is_file() else None)
        yield lambda read: bar.update(task, completed=read)
