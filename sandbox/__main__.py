"""``python -m sandbox``: files of the world, in the formats that the trainer reads."""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sandbox.corpus import CHAT_TEMPLATE, documents, lessons
from sandbox.customers import make_customers
from sandbox.labelers import assess, make_labelers, write_demonstration
from sandbox.world import make_unstated_prompt

CUSTOMERS = 60
HELD_OUT_SHARE = 0.25
"""Share of the customers whose prompts nothing trains on."""


def main(arguments: list[str] | None = None) -> int:
    """Write one file; 0 when it is complete, 2 for a wrong command line."""
    parser = argparse.ArgumentParser(prog="python -m sandbox", description="Write files of the synthetic world.")
    parser.add_argument(
        "what", choices=["corpus", "lessons", "template", "prompts", "unstated", "demonstrations", "comparisons"],
        help="corpus: raw documents; lessons: documents to read before them; template: the chat template; "
        "prompts: what customers ask; unstated: closed-domain prompts whose context does not hold the answer; "
        "demonstrations: prompts with labelers' answers; "
        "comparisons: labelers' rankings of the completions in --completions",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    parser.add_argument("--n", type=int, default=1000, help="rows (default 1000); comparisons takes all completions")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same file (default 0)")
    parser.add_argument("--split", choices=["train", "test"], default="train", help="whose prompts (default train)")
    parser.add_argument("--group", choices=["training", "held-out"], default="training", help="who ranks")
    parser.add_argument(
        "--completions", type=Path, help="JSONL rows {prompt | messages, responses | completions: [{text, finished}]}"
    )
    given = parser.parse_args(arguments)
    if given.n < 1:
        parser.error(f"--n {given.n}: must be at least 1")
    if given.what == "comparisons" and given.completions is None:
        parser.error("comparisons needs --completions FILE")
    given.out.parent.mkdir(parents=True, exist_ok=True)
    if given.what == "template":
        given.out.write_text(CHAT_TEMPLATE)
        return 0
    rows: dict[str, Iterable[dict[str, Any]]] = {
        "corpus": ({"text": text} for text in documents(given.n, given.seed)),
        "lessons": ({"text": text} for text in lessons(given.n, given.seed)),
        "prompts": prompt_rows(given.n, given.seed, given.split),
        "unstated": unstated_rows(given.n, given.seed),
        "demonstrations": demonstration_rows(given.n, given.seed, given.split),
    }
    chosen = rows.get(given.what) or comparison_rows(_read(given.completions), given.group, given.seed)
    with given.out.open("w") as file:
        file.writelines(json.dumps(row) + "\n" for row in chosen)
    return 0


def prompt_rows(count: int, seed: int, split: str = "train") -> Iterator[dict[str, Any]]:
    """``count`` different prompts of the customers of a split, customers taking turns."""
    rng = random.Random(f"prompts:{seed}:{split}")
    everybody = make_customers(CUSTOMERS, 0)
    held_out = round(CUSTOMERS * HELD_OUT_SHARE)
    customers = everybody[:held_out] if split == "test" else everybody[held_out:]
    seen: set[str] = set()
    while len(seen) < count:
        for customer in customers:
            prompt = next(customer.prompts(rng))
            if prompt.text not in seen and len(seen) < count:
                seen.add(prompt.text)
                yield {
                    "id": f"prompt-{seed}-{len(seen):05d}",
                    "prompt": prompt.text,
                    "customer": customer.name,
                    "split": split,
                    "use_case": prompt.task.use_case,
                }


def unstated_rows(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """``count`` closed-domain prompts whose context does not hold the answer."""
    rng = random.Random(f"unstated:{seed}")
    for number in range(1, count + 1):
        prompt = make_unstated_prompt(rng)
        yield {"id": f"unstated-{seed}-{number:05d}", "prompt": prompt.text, "use_case": prompt.task.use_case}


def demonstration_rows(count: int, seed: int, split: str = "train") -> Iterator[dict[str, Any]]:
    """Prompts with the answers that labelers of the training group wrote."""
    rng = random.Random(f"demonstrations:{seed}:{split}")
    labelers = [labeler for labeler in make_labelers(0) if labeler.group == "training"]
    for row in prompt_rows(count, seed, split):
        labeler = rng.choice(labelers)
        yield row | {"response": write_demonstration(labeler, row["prompt"], rng), "labeler": labeler.name}


def comparison_rows(completed: Iterable[dict[str, Any]], group: str, seed: int) -> Iterator[dict[str, Any]]:
    """Rows of ranked completions, each ranked by one labeler of ``group``."""
    rng = random.Random(f"comparisons:{seed}:{group}")
    labelers = [labeler for labeler in make_labelers(0) if labeler.group == group]
    for number, row in enumerate(completed, 1):
        labeler = rng.choice(labelers)
        prompt = row["prompt"] if "prompt" in row else row["messages"][-1]["content"]
        shown = row["responses"] if "responses" in row else row["completions"]
        responses = [{"text": each["text"], "finished": each.get("finished", True)} for each in shown]
        view = assess(labeler, prompt, [(r["text"], r["finished"]) for r in responses], rng)
        place = {index: rank for rank, tied in enumerate(view.ranking) for index in tied}
        pairs = [(a, b) for a in range(len(responses)) for b in range(a + 1, len(responses))]
        yield {
            "id": row.get("id", f"comparison-{seed}-{number:05d}"),
            "prompt": prompt,
            "customer": row.get("customer", ""),
            "responses": [
                response | {"rank": place[index], "quality": view.quality[index]}
                for index, response in enumerate(responses)
            ],
            "comparisons": [
                {
                    "a": a,
                    "b": b,
                    "winner": "tie" if place[a] == place[b] else "a" if place[a] < place[b] else "b",
                    "annotator": labeler.name,
                }
                for a, b in pairs
            ],
            "labeler_group": group,
        }


def _read(path: Path) -> Iterator[dict[str, Any]]:
    with path.open() as file:
        for line in file:
            yield json.loads(line)


if __name__ == "__main__":
    sys.exit(main())
