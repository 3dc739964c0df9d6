"""The sandbox's base model and the text that training mixes in: where they are, made ready."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.stack import ROOT
from feedback.errors import ArtifactMissing
from sandbox.agents import ANSWER_TOKENS
from sandbox.corpus import documents

SHIPPED = ROOT / "sandbox" / "base"
SMALL = {
    "WHETSTONE_PRESET": "sandbox",
    "WHETSTONE_MAX_MODEL_LEN": "256",
    "WHETSTONE_SAMPLING_MAX_TOKENS": str(ANSWER_TOKENS),
    # A second thread gives so small a model nothing, and idle threads that spin take the cores from those who work.
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
}
TEXT_DOCUMENTS, HELD_OUT_DOCUMENTS = 20_000, 2_000
TEXT_SEED, HELD_OUT_SEED = 101, 202


@dataclass(frozen=True, kw_only=True)
class Base:
    """What the sandbox begins with.

    Attributes:
        model: policy directory of the pretrained model.
        text: pretraining text for the ptx term and the SFT mix.
        held_out_text: text of the same kind that nothing trains on.
    """

    model: Path
    text: Path
    held_out_text: Path

    @property
    def environment(self) -> dict[str, str]:
        """Settings of all processes that fit a model of this size, and where the trainer finds the text."""
        return {
            **SMALL,
            "WHETSTONE_PRETRAINING": json.dumps([str(self.text)]),
            "WHETSTONE_HELD_OUT_TEXT": json.dumps([str(self.held_out_text)]),
        }

    @property
    def facts(self) -> dict[str, Any]:
        """What the model is, for the report."""
        config = json.loads((self.model / "config.json").read_text())
        size = (self.model / "model.safetensors").stat().st_size
        return {"layers": config["num_hidden_layers"], "width": config["hidden_size"], "weights_bytes": size}


def prepare_base(directory: Path) -> Base:
    """Return the base model; its text is written to ``directory``, the same at every call.

    Raises:
        ArtifactMissing: the weights are not in the checkout.
    """
    if not (SHIPPED / "model.safetensors").is_file():
        raise ArtifactMissing(f"{SHIPPED} holds no weights; `make base` trains them")
    directory.mkdir(parents=True, exist_ok=True)
    base = Base(
        model=SHIPPED,
        text=(directory / "pretraining.jsonl").resolve(),
        held_out_text=(directory / "held-out.jsonl").resolve(),
    )
    write_text(base.text, TEXT_DOCUMENTS, TEXT_SEED)
    write_text(base.held_out_text, HELD_OUT_DOCUMENTS, HELD_OUT_SEED)
    return base


def write_text(path: Path, count: int, seed: int) -> None:
    """Write documents of the raw corpus as JSONL."""
    with path.open("w") as file:
        for text in documents(count, seed):
            file.write(json.dumps({"text": text}) + "\n")
