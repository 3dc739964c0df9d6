"""The trainer's command line: ``python -m trainer STAGE --option value ...``.

Knows stages, their settings classes and exit codes; imports a stage only when it is run, so that ``--help`` is quick.
Options are the fields of the stage's settings class, their help the fields' docstrings. Exit codes: 0 done (or done
before by the same command), 1 refused or failed with one line on standard error, 2 wrong usage, 75 the disk is full,
130 interrupted, 143 ended by SIGTERM. After 75, 130, 143 and every kill the same command goes on.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import sys
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from feedback.errors import DiskFull, RunFinished, WhetstoneError
from trainer.settings.presets import PRESETS, resolve
from trainer.settings.stages import StageSettings

if typing.TYPE_CHECKING:
    from pydantic.fields import FieldInfo

# Command: (module with run(settings) -> metrics, module and name of its settings class, what it does).
STAGES: dict[str, tuple[str, str, str, str]] = {
    "pretrain": ("stages.pretrain", "settings.stages", "PretrainSettings", "train a language model on raw text"),
    "sft": ("stages.sft", "settings.stages", "SftSettings", "fine-tune a policy on demonstrations"),
    "start": ("stages.start", "settings.stages", "StartSettings", "make the policy that PPO starts from"),
    "reward": ("stages.reward", "settings.stages", "RewardSettings", "train a reward model on ranked completions"),
    "ensemble": ("stages.ensemble", "settings.stages", "EnsembleSettings", "train several reward models as one"),
    "ppo": ("ppo.ppo", "settings.ppo", "PpoSettings", "train a policy against a reward model (PPO-ptx)"),
    "evaluate": ("stages.evaluation", "settings.evaluate", "EvaluateSettings", "compare policies on held-out prompts"),
    "score": ("stages.score", "settings.stages", "ScoreSettings", "measure a reward model on ranked completions"),
    "disagree": ("stages.disagreement", "settings.stages", "DisagreeSettings", "find where reward models differ"),
    "generate": ("stages.generate", "settings.evaluate", "GenerateSettings", "sample completions of prompts"),
}
EXIT_DISK_FULL = 75
"""From sysexits.h: a failure that may pass, the user is invited to try again."""
# Short forms of options, by field.
_ALIASES = {"output": "--out", "max_completion_tokens": "--max-tokens"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one stage and return the exit code; the stage's metrics are the last line of standard output, as JSON."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given[:1] == ["serve"]:
            return int(importlib.import_module("trainer.rounds.service").main(given[1:]) or 0)
        if given[:1] == ["register"]:
            return int(importlib.import_module("trainer.rounds.register").main(given[1:]) or 0)
        values = vars(_parser(given[:1]).parse_args(given))
        stage, preset = values.pop("stage"), values.pop("preset")
        settings = resolve(stage, _settings_class(stage), preset, values)
        metrics = importlib.import_module(f"trainer.{STAGES[stage][0]}").run(settings)
    except RunFinished as found:
        print(found, file=sys.stderr)
        metrics = found.metrics
    except WhetstoneError as error:
        print(f"error: {type(error).__name__}: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_DISK_FULL if isinstance(error, DiskFull) else 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    if os.environ.get("RANK", "0") == "0":  # of several processes, one speaks
        print(json.dumps(metrics, default=str))
    return 0


def _settings_class(stage: str) -> type[StageSettings]:
    _, module, name, _ = STAGES[stage]
    kind: type[StageSettings] = getattr(importlib.import_module(f"trainer.{module}"), name)
    return kind


def _parser(chosen: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser of all stages, with the options of the chosen one only: others need not be imported."""
    parser = argparse.ArgumentParser(prog="python -m trainer", description="The stages of one training round.")
    commands = parser.add_subparsers(dest="stage", required=True, metavar="STAGE")
    for name, (*_, summary) in STAGES.items():
        command = commands.add_parser(
            name, help=summary, description=summary, argument_default=argparse.SUPPRESS, allow_abbrev=False
        )
        if name in chosen:
            command.add_argument("--preset", choices=list(PRESETS), default="paper", help="set of defaults (paper)")
            for field, info in _settings_class(name).model_fields.items():
                _add_option(command, field, info)
    commands.add_parser("serve", help="watch the ledger and run rounds", add_help=False)
    commands.add_parser("register", help="put a pretrained model into the registry", add_help=False)
    return parser


def _add_option(command: argparse.ArgumentParser, field: str, info: FieldInfo) -> None:
    """Add ``--field-name`` with the field's type, docstring and default; pydantic checks the value."""
    options = ["--" + field.replace("_", "-"), *([_ALIASES[field]] if field in _ALIASES else [])]
    help_text = (info.description or "").replace("%", "%%")
    if not info.is_required():
        help_text += f" (default: {info.default})".replace("%", "%%")
    element, many = _element(info.annotation)
    if element is bool:
        command.add_argument(*options, dest=field, action=argparse.BooleanOptionalAction, help=help_text)
    elif many:
        command.add_argument(*options, nargs="+", metavar=element.__name__.upper(), help=help_text)
    else:
        is_choice = typing.get_origin(info.annotation) is typing.Literal
        choices = list(typing.get_args(info.annotation)) if is_choice else None
        metavar = None if choices else element.__name__.upper()
        command.add_argument(*options, choices=choices, metavar=metavar, help=help_text)


def _element(annotation: Any) -> tuple[type, bool]:
    """Return (type of one value, whether several are taken)."""
    arguments = [argument for argument in typing.get_args(annotation) if argument is not types.NoneType]
    origin = typing.get_origin(annotation)
    if origin is list:
        return _element(arguments[0])[0], True
    if origin is typing.Literal:
        return str, False
    if origin in (types.UnionType, typing.Union):
        return _element(arguments[0])
    return annotation if isinstance(annotation, type) else Path, False


if __name__ == "__main__":
    sys.exit(main())
