"""``whetstone demo``: starts everything, turns the loop, measures, reports, and cleans up after itself."""

from __future__ import annotations

import asyncio
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from deploy.base import Base, prepare_base
from deploy.demo import report, traffic
from deploy.demo.director import Director, Plan, Story
from deploy.demo.measure import Sampled, table
from deploy.demo.narrator import Narrator
from deploy.demo.people import People
from deploy.stack import Stack, StackSettings
from deploy.supervisor import Supervisor, free_port, require_free
from feedback import policies
from sandbox.agents import ANSWER_TOKENS

DEMO_SETTINGS = {
    "WHETSTONE_SAMPLING_IN_FLIGHT": "32",
    "WHETSTONE_DEMONSTRATION_EVERY": "1",
    "WHETSTONE_CURATE_EVERY_S": "0.5",
    "WHETSTONE_SWEEP_EVERY_S": "2",
}
REPORT = Path("var/demo/report.json")


def run(*, directory: Path = Path("var/demo"), port: int = 0, plan: Plan | None = None) -> int:
    """Run the demonstration and return the exit code: 1 if a bar is missed, but for the time, which is the machine's.

    Args:
        directory: everything is written here; what an earlier demonstration left is removed first.
        port: TCP port of the API while the demonstration runs; 0 takes a free one.
        plan: how much is asked and judged.

    Raises:
        WhetstoneError: a part could not start or the loop got stuck; says which part and why.
    """
    plan = plan or Plan()
    port = require_free(port, "--port") if port else free_port()
    shutil.rmtree(directory, ignore_errors=True)
    with Narrator() as narrator:
        base = prepare_base(directory / "text")
        settings = StackSettings.local(directory, port, DEMO_SETTINGS | base.environment)
        with Supervisor(directory / "logs") as supervisor:
            stack = Stack(settings, supervisor)
            stack.start_ledger()
            narrator.say(f"ledger and broker are up; registering the base model as {stack.register_base(base.model)}")
            people = People.hire(stack.ledger)
            narrator.say("starting the API with two vLLM engines, the workers, the timetable and the trainer")
            stack.start_processes()
            narrator.say(f"the API answers at {settings.url}")
            story = asyncio.run(Director(stack, people, plan, narrator).run())
            narrator.say("measuring every policy by the gold taste, and every answer against a reference decode")
            found = measure(stack, people, plan, story, base)
        found["wall_s"] = round(narrator.elapsed_s, 1)
        found["bars"] = report.bars(found)
        report.write(found, directory / "report.json")
    report.show(found, narrator.console)
    narrator.console.print(f"report: {directory / 'report.json'}")
    return 0 if all(bar["pass"] for bar in found["bars"] if bar["name"] != "wall_s") else 1


def measure(stack: Stack, people: People, plan: Plan, story: Story, base: Base) -> dict[str, Any]:
    """Return the report, but for wall time and bars."""
    registered = policies.list_policies(stack.ledger)
    prompts = people.held_out_prompts(plan.held_out)
    stack.supervisor.end("beat", "worker", "trainer", "serve")
    asked = sorted({answer.prompt for answer in story.answers})
    jobs = [(policy.version, True, asked) for policy in registered] + [
        (policy.version, False, prompts) for policy in registered
    ]
    with ThreadPoolExecutor(max_workers=2) as pool:
        done = list(pool.map(lambda job: generate(stack, *job), jobs))
    reference: dict[tuple[str, str, int], str] = {}
    sampled: dict[str, list[Sampled]] = {}
    for (version, greedy, _), rows in zip(jobs, done, strict=True):
        if greedy:
            reference |= prefixes(stack, version, rows)
        else:
            sampled[version] = rows
    promoted = [event.version for event, _ in story.swaps]
    first, sft = registered[0].version, next(each.version for each in registered if each.kind == "sft")
    gold = table(sampled, sft, first, lambda version: version in promoted and version != sft)
    final = policies.aliases(stack.ledger)["live"]
    return {
        **report.bookkeeping(stack.ledger, stack.settings.directory / "artifacts", story),
        "reward_model": reward_model_figures(stack, people),
        "policies": report.policy_entries(stack.ledger, gold),
        "win_rate": {version: figures["win_rate"] for version, figures in gold.items() if "win_rate" in figures},
        "hallucination_rate": by_role(gold, "hallucination_rate", first, sft, final),
        "rude_rate": by_role(gold, "rude_rate", first, sft, final),
        "pretraining_loss": pretraining_losses(stack, final),
        "swaps": report.swap_figures(story, reference),
        "final": final,
        "refused_by_gate": story.refused,
        "rounds": [{"version": each.version, "kind": each.kind, "seconds": each.seconds} for each in story.rounds],
        "loop_latency_s": story.loop_latency_s,
        "base": base.facts,
    }


def generate(stack: Stack, version: str, greedy: bool, prompts: list[str]) -> list[Sampled]:
    """Return one completion per prompt by a registered policy, decoded by the trainer, outside of serving."""
    scratch = stack.settings.directory / "measure"
    scratch.mkdir(parents=True, exist_ok=True)
    name = f"{version}-{'greedy' if greedy else 'sampled'}"
    source, target = scratch / f"{name}.prompts.jsonl", scratch / f"{name}.jsonl"
    source.write_text("".join(json.dumps({"id": str(n), "prompt": text}) + "\n" for n, text in enumerate(prompts)))
    policy = policies.get(stack.ledger, version)
    longest = max(traffic.LENGTHS_TOKENS)
    stack.run_trainer(
        "generate",
        "--policy", str(stack.settings.directory / "artifacts" / policy.path),
        "--prompts", str(source),
        "--output", str(target),
        "--threads", "1",
        "--max-completion-tokens", str(longest if greedy else ANSWER_TOKENS),
        *(["--greedy", "--min-completion-tokens", str(longest)] if greedy else ["--seed", "1"]),
    )  # fmt: skip
    rows = [json.loads(line) for line in target.read_text().splitlines()]
    return [
        Sampled(
            prompt=text,
            text=row["completions"][0]["text"],
            finished=row["completions"][0]["finished"],
            token_ids=row["completions"][0]["token_ids"],
        )
        for text, row in zip(prompts, rows, strict=True)
    ]


def prefixes(stack: Stack, version: str, rows: list[Sampled]) -> dict[tuple[str, str, int], str]:
    """Return what a version says to each prompt in so many tokens, from its greedy answers of the greatest length."""
    path = stack.settings.directory / "artifacts" / policies.get(stack.ledger, version).path
    tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    return {
        (version, row.prompt, tokens): tokenizer.decode(row.token_ids[:tokens])
        for row in rows
        for tokens in traffic.LENGTHS_TOKENS
    }


def reward_model_figures(stack: Stack, people: People) -> dict[str, Any]:
    """Return the last reward model's accuracy on held-out prompts, by labeler group, beside what label noise allows."""
    models = policies.list_reward_models(stack.ledger)
    if not models:
        return {}
    compared = report.compared(stack.ledger, "agreement")
    return {
        "id": models[-1].id,
        "accuracy": {
            group: {name: found[name] for name in ("accuracy", "low", "high", "pairs")}
            for group, found in models[-1].metrics["by_labeler_group"].items()
        },
        "ceiling": people.noise_ceiling(compared),
        "metrics": models[-1].metrics,
    }


def by_role(gold: dict[str, dict[str, Any]], figure: str, base: str, sft: str, final: str) -> dict[str, Any]:
    """Return one figure of base, SFT and final policy."""
    return {"base": gold[base][figure], "sft": gold[sft][figure], "final": gold[final][figure]}


def pretraining_losses(stack: Stack, final: str) -> dict[str, Any]:
    """Return the loss on held-out pretraining text of the SFT and of the final policy, nats a token."""
    found = policies.report(stack.ledger, final)
    each = found.figures["policies"] if found else {}
    return {
        "sft": each.get("reference", {}).get("pretraining_loss"),
        "final": each.get("policy", {}).get("pretraining_loss"),
    }
