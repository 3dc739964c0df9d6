"""One walk through the stages of a round: snapshot, sft or reward and ppo, evaluate, register.

Knows the order of the stages and which files pass between them. Every stage leaves a finished directory behind, so a
walk that was interrupted goes on with the stage it was in.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from feedback import log, metrics, policies, rounds, snapshots
from feedback.client import Ledger
from feedback.errors import StageFailed, WhetstoneError
from feedback.records import Policy, Round, Snapshot, utc_now
from trainer.rounds import open_comparisons, report
from trainer.rounds.launch import run_stage
from trainer.running.layout import FIGURES_FILE, PROBE_FILE, partial_directory
from trainer.settings.service import TrainerSettings

logger = log.get(__name__)


class Stopped(Exception):
    """The walk was told to stop; the round can go on later."""


class Walk:
    """Walks one round; make a new one for the next."""

    def __init__(self, settings: TrainerSettings, ledger: Ledger, hold: Callable[[], bool]) -> None:
        """Bind what all stages need.

        Args:
            settings: of the service.
            ledger: where rounds, snapshots and policies are recorded.
            hold: renews the right to go on; False ends the walk.
        """
        self.settings = settings
        self.ledger = ledger
        self.hold = hold
        self.root = settings.artifact_root
        self.record: Round

    def run(self, record: Round) -> Round:
        """Walk to the end and return the finished round.

        Raises:
            Stopped: `hold` said no.
            StageFailed: a stage ended with an error.
            WhetstoneError: something that the round needs is missing.
        """
        self.record = record
        snapshot = self._snapshot()
        policy = self._sft(snapshot) if record.kind == "sft" else self._ppo(snapshot)
        return self._update(state="done", stage="", version=policy.version, progress={}, finished_at=utc_now())

    def _snapshot(self) -> Snapshot:
        if self.record.snapshot_id:
            return snapshots.get(self.ledger, self.record.snapshot_id)
        self._update(stage="snapshot")
        began_s = time.monotonic()
        snapshot = snapshots.build(self.ledger, self.root, snapshots.Caps.of(self.settings))
        self._update(
            snapshot_id=snapshot.id, seconds={**self.record.seconds, "snapshot": round(time.monotonic() - began_s, 3)}
        )
        return snapshot

    def _sft(self, snapshot: Snapshot) -> Policy:
        if snapshot.demonstrations < self.settings.min_demonstrations:
            raise StageFailed(
                f"sft: {snapshot.demonstrations} demonstrations, at least {self.settings.min_demonstrations} are needed"
            )
        base = self._newest("base")
        parent = self._live()
        files = self.root / snapshot.path
        trained = self._stage(
            "sft",
            "--policy", str(self.root / base.path),
            "--demonstrations", str(files / "demonstrations.parquet"),
            *self._text("--text", self.settings.pretraining),
        )  # fmt: skip
        figures = self._evaluate(self._made("sft"), parent, base, files)
        return self._register(
            "sft", trained, figures, parent=base.version, reference=base.version, snapshot_id=snapshot.id
        )

    def _ppo(self, snapshot: Snapshot) -> Policy:
        reference, parent = self._newest("sft"), self._live()
        start = parent if parent.kind == "ppo" else reference
        files = self.root / snapshot.path
        model_metrics = self._stage(
            "reward",
            "--policy", str(self.root / reference.path),
            "--preferences", str(files / "comparisons.parquet"),
            "--demonstrations", str(files / "demonstrations.parquet"),
        )  # fmt: skip
        model_id = "rm_" + self.record.id.removeprefix("rnd_")
        report.register_reward_model(self.ledger, self.root, self._made("reward"), model_id, snapshot.id, model_metrics)
        self._update(reward_model_id=model_id)
        self._disagree(model_id)
        trained = self._stage(
            "ppo",
            "--policy", str(self.root / start.path),
            "--reference", str(self.root / reference.path),
            "--reward", str(self._made("reward")),
            "--prompts", str(files / "prompts.parquet"),
            *self._text("--pretraining", self.settings.pretraining),
        )  # fmt: skip
        figures = self._evaluate(self._made("ppo"), parent, reference, files, reward=self._made("reward"))
        if trained.get("stopped"):
            figures["stopped"] = str(trained["stopped"]["reason"])
        return self._register(
            "ppo",
            trained,
            figures,
            parent=start.version,
            reference=reference.version,
            reward_model_id=model_id,
            snapshot_id=snapshot.id,
        )

    def _disagree(self, model_id: str) -> None:
        """Tell the queues on which comparisons this reward model and the one before differ; never fails the round."""
        earlier = [each for each in policies.list_reward_models(self.ledger) if each.id != model_id][-1:]
        file = self._made("unranked.jsonl")
        try:
            if not open_comparisons.write(self.ledger, file, self.settings.disagreement_items):
                return
            shutil.rmtree(partial_directory(self._made("disagree")), ignore_errors=True)  # others are open by now
            models = [self._made("reward"), *(self.root / each.path for each in earlier)]
            self._stage("disagree", "--reward-models", *map(str, models), "--comparisons", str(file))
            noted = open_comparisons.note(self.ledger, self._made("disagree") / FIGURES_FILE)
            logger.info("disagreement noted", round=self.record.id, comparisons=noted)
        except (WhetstoneError, OSError, ValueError) as error:
            logger.warning("disagreement not noted", round=self.record.id, error=str(error))
        finally:
            file.unlink(missing_ok=True)

    def _evaluate(
        self, made: Path, live: Policy, reference: Policy, files: Path, reward: Path | None = None
    ) -> dict[str, Any]:
        """Return the gate's figures of a trained policy."""
        found = self._stage(
            "evaluate",
            "--policy", str(made),
            "--against", f"live={self.root / live.path}", f"reference={self.root / reference.path}",
            "--reference", str(self.root / reference.path),
            "--prompts", str(files / "prompts.parquet"),
            *(["--reward", str(reward)] if reward else []),
            *self._text("--pretraining", self.settings.held_out_text),
        )  # fmt: skip
        return report.gate_figures(found)

    def _register(self, kind: str, trained: dict[str, Any], figures: dict[str, Any], **links: str) -> Policy:
        made = self._made(kind)
        self._update(stage="register")
        version = self.record.version or policies.next_version(self.ledger)
        self._update(version=version)
        known = [each for each in policies.list_policies(self.ledger) if each.version == version]
        policy = known[0] if known else report.register_policy(
            self.ledger,
            self.root,
            made,
            version,
            "sft" if kind == "sft" else "ppo",
            probe=json.loads((self._made("evaluate") / PROBE_FILE).read_text()),
            round_id=self.record.id,
            metrics=trained,
            **links,
        )  # fmt: skip
        report.register_report(self.ledger, version, figures)
        return policy

    def _stage(self, stage: str, *options: str) -> dict[str, Any]:
        """Run one stage in this round's directory and return its metrics."""
        self._update(stage=stage, progress={})
        began_s = time.monotonic()
        threads = ["--threads", str(self.settings.trainer_threads)] if self.settings.trainer_threads else []
        own = [
            word
            for name, value in self.settings.stage_options.get(stage, {}).items()
            for word in (f"--{name.replace('_', '-')}", str(value))
        ]
        stopped: list[bool] = []

        def may_go_on() -> bool:
            if not self.hold():
                stopped.append(True)
            return not stopped

        try:
            found = run_stage(
                stage,
                [*options, *threads, *own],
                self._made(stage),
                preset=self.settings.preset,
                processes=self.settings.trainer_processes if stage in ("sft", "reward", "ppo") else 1,
                nice=self.settings.trainer_nice,
                on_progress=self._show,
                may_go_on=may_go_on,
            )
        except StageFailed:
            if stopped:
                raise Stopped from None
            raise
        seconds = round(time.monotonic() - began_s, 3)
        metrics.stage_seconds.labels(stage).set(seconds)
        self._update(seconds={**self.record.seconds, stage: seconds})
        return found

    def _show(self, progress: dict[str, Any]) -> None:
        """Pass a stage's progress on to the ledger and to Prometheus."""
        if not progress.get("steps"):
            return
        stage = str(progress["stage"])
        figures = {name: float(progress[name]) for name in ("step", "steps", "eta_s") if progress.get(name) is not None}
        self._update(progress=figures)
        metrics.stage_progress.labels(stage).set(figures["step"] / figures["steps"])
        for name, value in progress.get("metrics", {}).items():
            metrics.training_metric.labels(stage, name).set(value)

    def _made(self, name: str) -> Path:
        return self.settings.work_root / self.record.id / name

    def _text(self, option: str, files: list[Path]) -> list[str]:
        return [option, *map(str, files)] if files else []

    def _live(self) -> Policy:
        return policies.get(self.ledger, "live")

    def _newest(self, kind: str) -> Policy:
        found = [policy for policy in policies.list_policies(self.ledger) if policy.kind == kind]
        if not found:
            raise StageFailed(f"no policy of kind {kind} is registered; a round of kind sft makes the first")
        return found[-1]

    def _update(self, **changes: object) -> Round:
        self.record = rounds.update(self.ledger, self.record, **changes)
        return self.record
