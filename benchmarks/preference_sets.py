"""Real preference sets as rows of one kind, dealt into folds so that no prompt is trained on and tested on.

Knows the six formats of conversations behind one schema, what makes two prompts the same, and how folds and text
without test prompts are written; does not know models. The data lies outside the repository, at ``$WHETSTONE_DATA``.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import ROOT

Message = dict[str, str]
_TURN = re.compile(r"\n\n(Human|Assistant):")
_ROLES = {"Human": "user", "prompter": "user", "Assistant": "assistant", "assistant": "assistant"}


@dataclass(frozen=True, kw_only=True)
class Row:
    """Completions of one prompt and what people said of them.

    Attributes:
        set: name of the set's directory.
        id: unique in all sets.
        key: what the conversation began with, without case and punctuation; rows with one key share a fold.
        messages: the conversation, cut to its end.
        texts: the completions.
        comparisons: judgements of people, as in the file; those of models are left out.
    """

    set: str
    id: str
    key: str
    messages: Sequence[Message]
    texts: Sequence[str]
    comparisons: Sequence[Mapping[str, Any]]

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """(chosen, rejected) of every judgement that is no tie and whose two texts differ."""
        found = [
            (each["a"], each["b"]) if each["winner"] == "a" else (each["b"], each["a"])
            for each in self.comparisons
            if each["winner"] != "tie"
        ]
        return [(chosen, rejected) for chosen, rejected in found if self.texts[chosen] != self.texts[rejected]]


def real_data() -> Path:
    """Return the directory of real data; ends the program with one line where there is none."""
    root = Path(os.environ.get("WHETSTONE_DATA", ROOT.parent / "shared" / "data"))
    if not root.is_dir():
        sys.exit(f"no real data at {root}; set WHETSTONE_DATA to the directory that holds pref-* and text-*")
    return root


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSONL file, gzipped or not."""
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def normal(text: str) -> str:
    """Return a text's words in lower case: two prompts with the same ones are the same prompt."""
    return " ".join(re.findall(r"\w+", text.lower()))


def read_set(directory: Path, prompt_bytes: int) -> list[Row]:
    """Return the rows of one set that people judged.

    Args:
        directory: of the set.
        prompt_bytes: what is kept of a conversation, from its end; no text has more tokens than bytes. The trainer
            would drop longer prompts, and their labels with them.
    """
    rows = []
    for fields in lines(directory / "comparisons.jsonl.gz"):
        whole = conversation(fields)
        human = [each for each in fields["comparisons"] if not str(each["annotator"]).startswith("model:")]
        meta = fields.get("meta") or {}
        beginning = meta.get("root") or meta.get("turn1_prompt") or whole[0]["content"]
        row = Row(
            set=directory.name,
            id=f"{directory.name}/{fields['id']}",
            key=normal(beginning),
            messages=ending(whole, prompt_bytes),
            texts=[response["text"] for response in fields["responses"]],
            comparisons=human,
        )
        if human and len(set(row.texts)) > 1:
            rows.append(row)
    return rows


def conversation(fields: Mapping[str, Any]) -> list[Message]:
    """Return a row's prompt as turns: those of ``meta``, or those that ``Human:`` and ``Assistant:`` mark, or one."""
    turns = (fields.get("meta") or {}).get("turns")
    if turns:
        return [{"role": _ROLES[turn["role"]], "content": turn["text"]} for turn in turns]
    parts = _TURN.split(fields["prompt"])
    if len(parts) == 1:
        return [{"role": "user", "content": fields["prompt"]}]
    found = [
        {"role": _ROLES[role], "content": text.strip()} for role, text in zip(parts[1::2], parts[2::2], strict=True)
    ]
    return [message for message in found if message["content"]]


def ending(messages: Sequence[Message], most_bytes: int) -> list[Message]:
    """Return the last turns that fit; where not even the last one does, its end."""
    kept: list[Message] = []
    left = most_bytes
    for message in reversed(messages):
        content = message["content"].encode()
        if kept and len(content) > left:
            break
        # A character that the cut goes through is left out.
        whole = content[-most_bytes:].decode(errors="ignore")
        kept.insert(0, {"role": message["role"], "content": whole})
        left -= len(content)
    return kept


def deal(rows: Iterable[Row], folds: int) -> dict[str, int]:
    """Return the fold of every key: each set's keys are dealt round in the order of their hashes.

    A key that two sets share keeps the fold that it got first.
    """
    by_set: dict[str, dict[str, None]] = {}
    for row in rows:
        by_set.setdefault(row.set, {})[row.key] = None
    dealt: dict[str, int] = {}
    for name in sorted(by_set):
        new = sorted(by_set[name].keys() - dealt.keys(), key=lambda key: hashlib.sha256(key.encode()).hexdigest())
        dealt |= {key: place % folds for place, key in enumerate(new)}
    return dealt


def write_rows(directory: Path, rows: Iterable[Row]) -> list[Path]:
    """Write one preference file per set, named after it; return the files."""
    by_set: dict[str, list[Row]] = {}
    for row in rows:
        by_set.setdefault(row.set, []).append(row)
    directory.mkdir(parents=True, exist_ok=True)
    for name, own in by_set.items():
        write_lines(
            directory / f"{name}.jsonl",
            (
                {
                    "id": row.id,
                    "messages": row.messages,
                    "responses": [{"text": text} for text in row.texts],
                    "comparisons": row.comparisons,
                }
                for row in own
            ),
        )
    return [directory / f"{name}.jsonl" for name in sorted(by_set)]


def write_lines(path: Path, objects: Iterable[Mapping[str, Any]]) -> None:
    """Write objects as JSONL."""
    path.write_text("".join(json.dumps(each) + "\n" for each in objects), encoding="utf-8")


@dataclass(frozen=True)
class Dialogues:
    """Demonstrations and prompts that no preference row asks about.

    Attributes:
        demonstrations: (prompt, answer).
        prompts: further prompts, without answers.
        left_out: how many were left out because a preference row has the same prompt.
    """

    demonstrations: Sequence[tuple[str, str]]
    prompts: Sequence[str]
    left_out: int


def read_dialogues(root: Path, keys: Iterable[str]) -> Dialogues:
    """Return people's demonstrations (Dolly, self-instruct's seed tasks) and Open-Assistant's prompts, without leaks.

    Args:
        root: directory of the sets.
        keys: of the preference rows, and anything else that must not be seen.
    """
    taken = set(keys)
    demonstrations = [
        (row["instruction"], row["response"]) for row in lines(root / "demos-dolly" / "demonstrations.jsonl.gz")
    ]
    for row in lines(root / "prompts-self-instruct" / "seed_tasks.jsonl"):
        case = row["instances"][0]
        demonstrations.append(("\n\n".join(filter(None, (row["instruction"], case["input"]))), case["output"]))
    prompts = [row["instruction"] for row in lines(root / "prompts-oasst" / "prompts.jsonl")]
    kept = [(prompt, answer) for prompt, answer in demonstrations if normal(prompt) not in taken and answer.strip()]
    kept_prompts = [prompt for prompt in prompts if normal(prompt) not in taken]
    return Dialogues(kept, kept_prompts, len(demonstrations) + len(prompts) - len(kept) - len(kept_prompts))
