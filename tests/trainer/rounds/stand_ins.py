"""What tests of walks share: stages that are done at once, and a ledger with all that a round needs.

The stand-ins leave ready outputs by one rename, as stages do; ledger, files, snapshots and registration are real.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from feedback import artifacts, comparisons, labels, leases, policies, promotion
from feedback import demonstrations as answers
from feedback import prompts as pool
from feedback.client import Ledger
from tests.builders import make_completion, make_demonstration, make_label, make_policy, make_prompt
from trainer.settings.service import TrainerSettings


def ready(stage: str, options: Any, output: Path, **rest: Any) -> dict[str, Any]:
    """Stand in for `run_stage`: leave what the stage would, by one rename, unless it is there."""
    finished: dict[str, Any] = {"stage": stage}
    if stage == "evaluate":
        own = {"kl_nats": 1.0, "eos_rate": 1.0, "pretraining_loss": 2.0}
        finished |= {"policies": {"policy": own, "reference": own}, "length_ratio": {"live": 1.0}, "prompts": 2}
        finished["win_rate"] = {"live": {"mean": 0.7}}
    if not output.exists():
        draft = output.with_name(output.name + ".partial")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        for name, content in {
            "metrics.json": finished,
            "config.json": [stage, [Path(word).name for word in options]],
            "settings.json": {},
            "probe.json": [],
            "uses.json": {},
            "disagreement.json": {},
        }.items():
            (draft / name).write_text(json.dumps(content))
        draft.rename(output)
    return finished


def settings_in(ledger: Ledger, tmp_path: Path) -> TrainerSettings:
    """Return a service's settings whose files are under ``tmp_path``."""
    return TrainerSettings.load(
        ledger_url=ledger.url,
        artifact_root=tmp_path / "artifacts",
        work_root=tmp_path / "training",
        min_demonstrations=1,
    )


def fill(ledger: Ledger, settings: TrainerSettings) -> Ledger:
    """Give a ledger a base and an SFT policy, two labels, two demonstrations and an unranked comparison."""
    for kind in ("base", "sft"):
        version = policies.next_version(ledger)
        with artifacts.new_directory(settings.artifact_root / "policies" / version) as draft:
            (draft / "config.json").write_text(kind)
        policies.register(ledger, make_policy(version, kind=kind, path=f"policies/{version}", parent="policy-0000"))
        promotion.promote(ledger, version, "test")
    for number in range(2):
        prompt = make_prompt(f"Question {number}?", customer=f"customer-{number}")
        pool.keep(ledger, prompt, f"hash-{number}", 200)
        leases.open_item(ledger, prompt.id, answers.QUEUE, 1, number)
        lease = leases.lease(ledger, answers.QUEUE, "lee")
        assert lease is not None
        answers.submit(ledger, make_demonstration(prompt), lease.token)
        planned = comparisons.plan(ledger, prompt, 4)
        comparisons.complete(ledger, planned, [make_completion(f"Reply {number} {n}.") for n in range(4)])
        lease = leases.lease(ledger, "training", "lee")
        assert lease is not None
        full = comparisons.get(ledger, planned.id)
        labels.submit(ledger, make_label(full), full, lease.token)
    unranked = comparisons.plan(ledger, make_prompt("Question 9?"), 4)
    comparisons.complete(ledger, unranked, [make_completion(f"Reply {n}.") for n in range(4)])
    return ledger
