"""One walk through the stages of a round: snapshot, then sft, or reward and ppo, then evaluate, register.

Knows the order of the stages and which files pass between them. A walk may be killed between any two of its acts and
begun again, here or by another trainer: stages leave finished directories behind, everything that a round makes has an
id made of the round's, and what is recorded already is not made anew.
"""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

from feedback import artifacts, fence, log, policies, rounds, snapshots
from feedback.errors import NotFound, StageFailed, WhetstoneError
from feedback.records import Policy, RewardModel, Round, Snapshot, utc_now
from trainer.rounds import open_comparisons, predecessors, report
from trainer.rounds.work import Work
from trainer.running.layout import FIGURES_FILE, PROBE_FILE, working_directory

logger = log.get(__name__)


class Walk:
    """Walks one round; make a new one for the next."""

    def __init__(self, work: Work) -> None:
        """Bind the work on a round."""
        self.work = work
        self.settings, self.ledger = work.settings, work.ledger
        self.root = work.settings.artifact_root

    def run(self) -> Round:
        """Walk to the end and return the finished round.

        Raises:
            Stopped: this trainer may not go on; another one, or the same after a restart, can.
            Cancelled: an operator does not want the round.
            LeaseLost: another trainer took over.
            WhetstoneError: something that the round needs is missing, or a stage failed.
        """
        self._sweep()
        if not self.work.record.parent:
            self.work.update(parent=policies.aliases(self.ledger).get("live", ""))
        snapshot = self._snapshot()
        version = self._sft(snapshot) if self.work.record.kind == "sft" else self._ppo(snapshot)
        self.work.update(state="done", stage="", version=version, progress={}, finished_at=utc_now())
        return self.work.record

    def _sweep(self) -> None:
        """Remove what a trainer that died was in the middle of writing."""
        fence.require(self.ledger, self.work.number)
        for place in ("snapshots/snp_" + self.work.key, "reward-models/rm_" + self.work.key):
            artifacts.remove_drafts(self.root / place)
        if self.work.record.version:
            artifacts.remove_drafts(self.root / "policies" / self.work.record.version)

    def _snapshot(self) -> Snapshot:
        id = "snp_" + self.work.key
        began_s = time.monotonic()
        try:
            snapshot = snapshots.get(self.ledger, id)
        except NotFound:
            self.work.begin("snapshot")
            left_over = self.root / "snapshots" / id  # by a trainer that died before it was recorded
            shutil.rmtree(left_over, ignore_errors=True)
            caps = snapshots.Caps.of(self.settings)
            snapshot = snapshots.build(self.ledger, self.root, caps, id=id, number=self.work.number)
        if not self.work.record.snapshot_id:
            self.work.update(snapshot_id=id)
            self.work.end("snapshot", began_s)
        return snapshot

    def _registered(self) -> list[Policy]:
        """Return the policies that were there when the round began: begun again, a walk chooses the same ones."""
        return [each for each in policies.list_policies(self.ledger) if each.created_at <= self.work.record.created_at]

    def _parent(self) -> Policy:
        return policies.get(self.ledger, self.work.record.parent or "live")

    def _sft(self, snapshot: Snapshot) -> str:
        if snapshot.demonstrations < self.settings.min_demonstrations:
            raise StageFailed(
                f"sft: {snapshot.demonstrations} demonstrations, at least {self.settings.min_demonstrations} are needed"
            )
        registered, parent = self._registered(), self._parent()
        base = predecessors.newest(registered, "base")
        judge = predecessors.judge_for(base, registered, policies.list_reward_models(self.ledger))
        files = self.root / snapshot.path
        trained = self.work.run(
            "sft",
            "--policy", str(self.root / base.path),
            "--demonstrations", str(files / "demonstrations.parquet"),
            *_text("--text", self.settings.pretraining),
            *(["--reward-model", str(self.root / judge.path)] if judge else []),
        )  # fmt: skip
        figures = self._evaluate(self.work.made("sft"), parent, self.root / base.path, self.root / base.path, files)
        links = {"parent": base.version, "reference": base.version, "snapshot_id": snapshot.id}
        return self._register("sft", trained, figures, links)

    def _ppo(self, snapshot: Snapshot) -> str:
        registered, parent = self._registered(), self._parent()
        reference = predecessors.newest(registered, "sft")
        files = self.root / snapshot.path
        model = self._reward(reference, snapshot)
        measured_to = (
            self._start(registered, files) if self.settings.ppo_start == "start" else self.root / reference.path
        )
        start = parent if parent.kind == "ppo" else reference
        begun_from = self.root / start.path if start is parent else measured_to
        trained = self.work.run(
            "ppo",
            "--policy", str(begun_from),
            "--reference", str(measured_to),
            "--reward", str(self.work.made(self._judge)),
            "--prompts", str(files / "prompts.parquet"),
            *_text("--pretraining", self.settings.pretraining),
        )  # fmt: skip
        figures = self._evaluate(
            self.work.made("ppo"), parent, begun_from, measured_to, files, self.work.made(self._judge)
        )
        if trained.get("stopped"):
            figures["stopped"] = str(trained["stopped"]["reason"])
        links = {"parent": start.version, "reference": reference.version}
        links |= {"reward_model_id": model.id, "snapshot_id": snapshot.id}
        return self._register("ppo", trained | {"measured_to": self.settings.ppo_start}, figures, links)

    @property
    def _judge(self) -> str:
        """The stage that makes what PPO is rewarded by."""
        return "ensemble" if self.settings.reward_members > 1 else "reward"

    def _reward(self, reference: Policy, snapshot: Snapshot) -> RewardModel:
        """Train and record the round's reward model, in full or onward from the one before."""
        id = "rm_" + self.work.key
        earlier = [each for each in policies.list_reward_models(self.ledger) if each.id != id]
        before = predecessors.warm_start(self.settings, reference, earlier)
        if before is not None and not self._has_news(before, snapshot):
            before = None  # there is nothing to go on with
        files = self.root / snapshot.path
        origin = ["--init-reward", str(self.root / before.path), "--incremental"] if before else []
        found = self.work.run(
            self._judge,
            *(["--members", str(self.settings.reward_members)] if self._judge == "ensemble" else []),
            *(origin or ["--policy", str(self.root / reference.path)]),
            "--preferences", str(files / "comparisons.parquet"),
            "--demonstrations", str(files / "demonstrations.parquet"),
        )  # fmt: skip
        found |= {"training": predecessors.INCREMENTAL if before else predecessors.FULL, "policy": reference.version}
        found |= {"init_reward": before.id} if before else {}
        found |= {"members": self.settings.reward_members}
        made, number = self.work.made(self._judge), self.work.number
        model = report.register_reward_model(self.ledger, self.root, made, id, snapshot.id, found, number)
        self.work.update(reward_model_id=id)
        self._disagree(earlier[-1:])
        return model

    def _has_news(self, before: RewardModel, snapshot: Snapshot) -> bool:
        """Tell whether there is a comparison to train on that the reward model before has not seen."""
        try:
            seen = snapshots.get(self.ledger, before.snapshot_id)
            return snapshots.new_comparisons(seen, snapshot, self.root) > 0
        except (NotFound, OSError) as error:  # erased in the meantime: nobody knows what it has seen
            logger.warning("reward model is trained in full", round=self.work.record.id, error=str(error))
            return False

    def _start(self, registered: list[Policy], files: Path) -> Path:
        """Make the policy that the paper starts PPO from and measures the KL to (C.3); return its directory."""
        base = predecessors.newest(registered, "base")
        self.work.run(
            "start",
            "--policy", str(self.root / base.path),
            "--demonstrations", str(files / "demonstrations.parquet"),
            *_text("--text", self.settings.pretraining),
        )  # fmt: skip
        return self.work.made("start")

    def _disagree(self, earlier: list[RewardModel]) -> None:
        """Tell the queues on which comparisons this reward model and the one before differ; never fails the round."""
        file = self.work.made("unranked.jsonl")
        try:
            if not open_comparisons.write(self.ledger, file, self.settings.disagreement_items):
                return
            shutil.rmtree(working_directory(self.work.made("disagree")), ignore_errors=True)  # others are open by now
            models = [self.work.made(self._judge), *(self.root / each.path for each in earlier)]
            self.work.run("disagree", "--reward-models", *map(str, models), "--comparisons", str(file))
            fence.require(self.ledger, self.work.number)
            noted = open_comparisons.note(self.ledger, self.work.made("disagree") / FIGURES_FILE)
            logger.info("disagreement noted", round=self.work.record.id, comparisons=noted)
        except (WhetstoneError, OSError, ValueError) as error:
            logger.warning("disagreement not noted", round=self.work.record.id, error=str(error))
        finally:
            file.unlink(missing_ok=True)

    def _evaluate(
        self, made: Path, live: Policy, begun_from: Path, reference: Path, files: Path, reward: Path | None = None
    ) -> dict[str, Any]:
        """Return the gate's figures of a trained policy."""
        found = self.work.run(
            "evaluate",
            "--policy", str(made),
            "--against", f"live={self.root / live.path}", f"reference={reference}",
            "--reference", str(reference), "--parent", str(begun_from),
            "--prompts", str(files / "prompts.parquet"),
            *(["--reward", str(reward)] if reward else []),
            *_text("--pretraining", self.settings.held_out_text),
        )  # fmt: skip
        return report.gate_figures(found)

    def _register(self, kind: str, trained: dict[str, Any], figures: dict[str, Any], links: dict[str, str]) -> str:
        """Record the report, then the policy, which becomes the candidate; return its version."""
        self.work.begin("register")
        self.work.record = rounds.give_version(self.ledger, self.work.record, self.work.number)
        version, number = self.work.record.version, self.work.number
        report.register_report(self.ledger, "evr_" + self.work.key, version, figures, number)
        if all(each.version != version for each in policies.list_policies(self.ledger)):
            report.register_policy(
                self.ledger,
                self.root,
                self.work.made(kind),
                version,
                "sft" if kind == "sft" else "ppo",
                probe=json.loads((self.work.made("evaluate") / PROBE_FILE).read_text()),
                round_id=self.work.record.id,
                metrics=trained,
                number=number,
                **links,
            )
        return version


def _text(option: str, files: list[Path]) -> list[str]:
    return [option, *map(str, files)] if files else []
