"""Writes the reference pages from the code: settings, records, keys, moves, metrics, modules.

    python docs/generate.py           write what is out of date
    python docs/generate.py --check   write nothing; exit with 1 if something is out of date

Knows where in the code each fact is; holds no facts of its own, so a page cannot say what the code does not.
"""

import ast
import importlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from prometheus_client import Counter, Gauge, Histogram  # noqa: E402  # the path must be set first
from prometheus_client.metrics import MetricWrapperBase  # noqa: E402
from pydantic import BaseModel  # noqa: E402
from pydantic_core import PydanticUndefined  # noqa: E402

from feedback import keys, metrics, records  # noqa: E402
from feedback.settings import Settings  # noqa: E402

PROCESSES = {
    "serve": ("serve.settings", "ServeSettings", "`python -m serve`"),
    "workers": ("workers.settings", "WorkerSettings", "`python -m workers worker` and `python -m workers beat`"),
    "trainer": ("trainer.settings.service", "TrainerSettings", "`python -m trainer serve`"),
}
"""Process -> module and class of its settings, and its command."""
PACKAGES = ("feedback", "serve", "workers", "trainer", "sandbox", "deploy")
NOTICE = "<!-- Written by docs/generate.py from the code; change the code, then run `python docs/generate.py`. -->\n"


def fields_of(kind: type) -> dict[str, tuple[str, str]]:
    """Return field -> (annotation as written, docstring) of a class, its bases' fields first."""
    found: dict[str, tuple[str, str]] = {}
    for each in reversed(kind.__mro__):
        if each.__module__.split(".")[0] not in PACKAGES:
            continue
        body = ast.parse(inspect.cleandoc("\n" + inspect.getsource(each))).body[0]
        assert isinstance(body, ast.ClassDef)
        for node, following in zip(body.body, [*body.body[1:], None], strict=True):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found[node.target.id] = (ast.unparse(node.annotation), _text(following))
    return found


def _text(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return " ".join(node.value.value.split())
    return ""


def _cell(text: str) -> str:
    """Return the text as a table cell, reStructuredText's double backticks as Markdown's single ones."""
    return text.replace("``", "`").replace("|", "\\|") or " "


def table(heads: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [heads, ["---"] * len(heads), *([_cell(cell) for cell in row] for row in rows)]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def shown_default(kind: type[BaseModel], name: str) -> str:
    """Return the default of a setting as it would be written; empty if the setting is required."""
    field = kind.model_fields[name]
    if field.default_factory is not None:
        return "this machine's name" if name == "replica" else "[]"
    if field.default is PydanticUndefined or field.default is None:
        return ""
    return str(field.default).lower() if isinstance(field.default, bool) else str(field.default)


def _limits(kind: type[BaseModel], name: str) -> str:
    words = " ".join(str(each) for each in kind.model_fields[name].metadata)
    signs = {"Ge": ">=", "Gt": ">", "Le": "<=", "Lt": "<"}
    return ", ".join(f"{signs[sign]} {value}" for sign, value in re.findall(r"\b([GL][et])\(\w+=([^)]+)\)", words))


def _setting_rows(kind: type[BaseModel], names: list[str], shown: Callable[[str], str]) -> list[list[str]]:
    described = fields_of(kind)
    rows = []
    for name in names:
        annotation, meaning = described[name]
        bounds = _limits(kind, name)
        default = f"`{shown_default(kind, name)}`" if shown_default(kind, name) else ""
        default = "required" if kind.model_fields[name].is_required() else default
        rows.append([f"`{shown(name)}`", default, f"`{annotation}` {bounds}".strip(), meaning])
    return rows


def process_settings(process: str) -> tuple[type[Settings], list[str]]:
    """Return the settings class of a process and the names of the fields that only it has."""
    module, name, _ = PROCESSES[process]
    kind: type[Settings] = getattr(importlib.import_module(module), name)
    return kind, [field for field in kind.model_fields if field not in Settings.model_fields]


def configuration() -> str:
    """Return docs/configuration.md."""

    def variable(name: str) -> str:
        return f"WHETSTONE_{name.upper()}"

    heads = ["Setting", "Default", "Type", "Meaning"]
    parts = [
        NOTICE,
        "# Configuration\n",
        "Processes read environment variables, or a `.env` file in the directory where they start. The environment "
        "wins. A malformed value stops the process with one line that names it; settings do not change while a "
        "process runs. Lists and tables are written as JSON. [`.env.example`](../.env.example) holds all defaults.\n",
        "## All processes\n",
        table(heads, _setting_rows(Settings, list(Settings.model_fields), variable)),
    ]
    for process, (_, _, command) in PROCESSES.items():
        kind, names = process_settings(process)
        parts += [f"## {process}\n", f"{command}\n", table(heads, _setting_rows(kind, names, variable))]
    parts += [
        "## Stages of the trainer\n",
        "Options of `python -m trainer STAGE`. The defaults are those of `--preset paper`; `--preset sandbox` replaces "
        "those listed under a table. The trainer service passes `WHETSTONE_PRESET` and `WHETSTONE_STAGE_OPTIONS` on.\n",
        *_stages(heads),
    ]
    return "\n".join(parts)


def _stages(heads: list[str]) -> Iterator[str]:
    main: Any = importlib.import_module("trainer.__main__")
    presets: Any = importlib.import_module("trainer.settings.presets")
    for stage, (_, module, name, summary) in main.STAGES.items():
        kind: type[BaseModel] = getattr(importlib.import_module(f"trainer.{module}"), name)
        yield f"### {stage}\n"
        yield f"{summary[0].upper()}{summary[1:]}.\n"
        rows = _setting_rows(kind, list(kind.model_fields), lambda field: "--" + field.replace("_", "-"))
        yield table(["Option", *heads[1:]], rows)
        changed = presets.PRESETS["sandbox"].get(stage, {})
        if changed:
            listed = ", ".join(f"`--{field.replace('_', '-')} {value}`" for field, value in changed.items())
            yield f"Preset `sandbox`: {listed}.\n"


def environment() -> str:
    """Return .env.example."""
    lines = ["# Every setting with its default; copy to .env and change what you need.", "# See docs/configuration.md."]
    groups: list[tuple[str, type[Settings], list[str]]] = [("all processes", Settings, list(Settings.model_fields))]
    groups += [(process, *process_settings(process)) for process in PROCESSES]
    for title, kind, names in groups:
        lines += ["", f"# --- {title}"]
        described = fields_of(kind)
        for name in names:
            lines.append(f"# {described[name][1]}".replace("``", ""))
            default = "" if name == "replica" else shown_default(kind, name)
            lines.append(f"# WHETSTONE_{name.upper()}={default}")
    return "\n".join(lines) + "\n"


def data_model() -> str:
    """Return docs/data-model.md."""
    parts = [
        NOTICE,
        "# Data model\n",
        "Records are written as JSON, frozen and checked when read; unknown fields are refused. A change of state is "
        "a new write through one function that names the move. Times are UTC.\n",
        "## Records\n",
    ]
    kinds = [kind for _, kind in inspect.getmembers(records, inspect.isclass) if issubclass(kind, records.Record)]
    lines = {kind: inspect.getsourcelines(kind)[1] for kind in kinds}
    for kind in sorted(kinds, key=lambda each: lines[each]):
        if kind is records.Record:
            continue
        own = ast.parse(inspect.getsource(kind)).body[0]
        assert isinstance(own, ast.ClassDef)
        defaults = {
            node.target.id: ast.unparse(node.value) if node.value is not None else ""
            for node in own.body
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
        }
        rows = [
            [f"`{name}`", f"`{annotation}`", f"`{defaults[name]}`" if defaults[name] else "", meaning]
            for name, (annotation, meaning) in fields_of(kind).items()
        ]
        parts += [f"### {kind.__name__}\n", f"{inspect.getdoc(kind)}\n"]
        parts.append(table(["Field", "Type", "Default", "Meaning"], rows))
    parts += [
        "## Keys of the ledger\n",
        table(["Key", "Type", "Members", "Bound; writer -> readers"], list(key_rows())),
        "## Moves\n",
        "A move that touches more than one key is one Lua script in `feedback/scripts/`, so it happens as a whole or "
        "not at all.\n",
        table(["Move", "What it does"], list(move_rows())),
    ]
    return "\n".join(parts)


def key_rows() -> Iterator[list[str]]:
    """Yield the rows of the key catalogue: pattern, type, members, bound."""
    lines = (keys.__doc__ or "").splitlines()
    rule = next(line for line in lines if line.startswith("=="))
    starts = [match.start() for match in re.finditer(r"=+", rule)]
    ends = [*starts[1:], None]
    row: list[str] = []
    for line in lines[lines.index(rule) + 3 :]:
        cells = [line[start:end].strip() for start, end in zip(starts, ends, strict=True)]
        if line.startswith("ws:"):
            if row:
                yield row
            row = [f"`{cells[0]}`", *cells[1:]]
        elif row and not line.startswith("=="):
            row = [" ".join(filter(None, pair)) for pair in zip(row, cells, strict=True)]
    yield row


def move_rows() -> Iterator[list[str]]:
    """Yield name and sentence of every script."""
    for script in sorted((ROOT / "feedback/scripts").glob("*.lua")):
        head = script.read_text().split("--\n")[0]
        sentence = " ".join(line.removeprefix("--").strip() for line in head.splitlines())
        yield [f"`{script.stem}`", sentence.split(": ", 1)[1]]


def metric_page() -> str:
    """Return docs/metrics.md."""
    types = {Counter: "counter", Gauge: "gauge", Histogram: "histogram"}
    rows = []
    for found in vars(metrics).values():
        if isinstance(found, MetricWrapperBase):
            family = next(iter(found.describe()))
            name = family.name + ("_total" if isinstance(found, Counter) else "")
            labels = ", ".join(f"`{label}`" for label in found._labelnames)
            rows.append([f"`{name}`", types[type(found)], labels, family.documentation])
    return "\n".join(
        [
            NOTICE,
            "# Metrics\n",
            "In Prometheus' text format: serve at `/metrics` on its own port, the workers at "
            "`WHETSTONE_WORKERS_METRICS_PORT`, the trainer at `WHETSTONE_TRAINER_METRICS_PORT`. A process gives the "
            "metrics that it has something to say about. Serve adds vLLM's own, labelled by slot and version.\n",
            table(["Metric", "Type", "Labels", "Meaning"], rows),
        ]
    )


def modules() -> str:
    """Return the list of all modules, a sentence each, for docs/architecture.md."""
    parts = []
    for package in PACKAGES:
        parts.append(f"**{package}/**\n")
        for path in sorted((ROOT / package).rglob("*.py")):
            text = ast.get_docstring(ast.parse(path.read_text()))
            if path.name == "__init__.py" or not text:
                continue
            first = " ".join(text.split("\n\n")[0].split()).replace("``", "`")
            parts.append(f"- `{path.relative_to(ROOT / package).with_suffix('')}`: {first}")
        parts.append("")
    return "\n".join(parts)


def with_block(path: Path, name: str, block: str) -> str:
    """Return the file's text with what stands between the markers ``name`` replaced."""
    opening, closing = f"<!-- {name} -->", f"<!-- /{name} -->"
    text = path.read_text()
    before, _, rest = text.partition(opening)
    _, _, after = rest.partition(closing)
    return f"{before}{opening}\n\n{block}\n{closing}{after}"


@cache
def pages() -> dict[Path, str]:
    """Return path -> text of everything that is written from the code."""
    architecture = ROOT / "docs/architecture.md"
    return {
        ROOT / "docs/configuration.md": configuration(),
        ROOT / ".env.example": environment(),
        ROOT / "docs/data-model.md": data_model(),
        ROOT / "docs/metrics.md": metric_page(),
        architecture: with_block(architecture, "modules", modules()),
    }


def main() -> int:
    """Write or check all pages and return the exit status."""
    check = "--check" in sys.argv[1:]
    stale = [path for path, text in pages().items() if not path.is_file() or path.read_text() != text]
    for path in stale:
        print(f"{'out of date' if check else 'written'}: {path.relative_to(ROOT)}")
        if not check:
            path.write_text(pages()[path])
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
