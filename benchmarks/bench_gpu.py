"""What does PPO-ptx of a 1.3 B model cost on one GPU, phase by phase, beside TRL 1.12?

``make bench-gpu`` makes a random 1.3 B Llama on the device, trains it with our stage (512 episodes of 256 + 256
tokens, 8 optimizer steps, pretraining blocks of random text, bfloat16 autocast over float32 weights, vLLM sampling,
or transformers sampling where vLLM cannot be imported) and then with TRL's ``PPOTrainer`` (the same models, episodes
and optimizer steps; no pretraining term, since it has none), each in a process of its own. Of two iterations the
first warms up. It prints seconds, tokens a second, TFLOP/s of the matrix products, what ``nvidia-smi`` saw and peak
memory of each phase. ``var/bench/gpu.json`` holds the figures.

Without CUDA it says so and exits with 2. ``--tiny`` takes a Llama of two layers on a CPU down the same path in seconds.

**What must be there.** A CUDA device with 130 GiB (``gpu_world.memory_gib``), Python 3.11 or later with ``torch``,
``transformers``, ``safetensors``, ``tokenizers``, ``scipy``, ``pyarrow``, ``tqdm``, ``rich``, ``jinja2`` and
``accelerate``; beside them ``NEEDS``. For a machine without a package index put those into one folder first (40 MB) and
take it along; ``--needs`` prints the commands for Python 3.12 on Linux. Then one command is enough::

    PYTHONPATH=gpu-packages python3 -m benchmarks.bench_gpu --budget-s 560

TRL is looked for where ``make setup-test`` puts it (``--trl``), then on the path. Both sides share ``--budget-s``: one
that does not end in time is reported as such. ``--side`` measures one of them.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import ROOT, Bar, log, report
from benchmarks.gpu_phases import Watch, table
from benchmarks.gpu_world import REAL, TINY, Size, memory_gib, operations, parameters, write_problem

NO_CUDA = 2
NEEDS = {
    "--python-version 3.12 --only-binary=:all:": ("pydantic-settings", "msgspec", "redis", "uuid-utils"),
    "--python-version 3.12 --no-deps": ("trl==1.12.0", "datasets", "dill", "multiprocess"),
}
"""Packages that an image with PyTorch and transformers may lack, by how pip must fetch them: ours with what they need,
TRL's alone, because they would bring PyTorch."""
TRL = Path(sys.prefix) / "peers"


def run(side: str, given: Mapping[str, Any], trl: Path, budget_s: float) -> dict[str, Any]:
    """Train in a process of its own; return what it noted, what ``nvidia-smi`` saw, or why there is nothing."""
    output = Path(given["output"])
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    environment, module = dict(os.environ), "benchmarks.gpu_ours"
    if side == "trl":
        module = "benchmarks.peers.trl_gpu"
        own = [str(trl / "trl-1.12.0"), str(trl / "shared")] if (trl / "trl-1.12.0").is_dir() else []
        environment["PYTHONPATH"] = os.pathsep.join([*own, str(ROOT), os.environ.get("PYTHONPATH", "")])
        environment["TRL_EXPERIMENTAL_SILENCE"] = "1"
    environment |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "VLLM_NO_USAGE_STATS": "1"}
    began_s, errors = time.monotonic(), output / "log.txt"
    with Watch() as watch, errors.open("w") as told:
        command = [sys.executable, "-m", module, json.dumps(dict(given))]
        try:
            done = subprocess.run(
                command, env=environment, cwd=ROOT, stdout=told, stderr=told, timeout=max(budget_s, 1.0), check=False
            )
        except subprocess.TimeoutExpired:
            return {"failed": f"not done after {budget_s:.0f} s"}
    if done.returncode or not (output / "phases.json").is_file():
        return {"failed": (errors.read_text().strip().splitlines() or [f"exit code {done.returncode}"])[-1]}
    noted: dict[str, Any] = json.loads((output / "phases.json").read_text())
    return noted | {"seen": watch.seen, "wall_s": time.monotonic() - began_s}


def figures(side: str, found: Mapping[str, Any], size: Size, *, warm_up: int) -> dict[str, Any]:
    """A side's part of the report.

    Args:
        side: ``ours`` or ``trl``.
        found: what ``run`` returned.
        size: of the problem.
        warm_up: iterations that are left out.
    """
    if "failed" in found:
        return {"failed": found["failed"]}
    generated = size.batch * size.completion_tokens
    tokens = {"sample": generated, "score": size.tokens, "learn": size.tokens + size.ptx_tokens}
    done = operations(size)
    if side == "trl":
        tokens["learn"] = size.tokens
        done["learn"] *= 2 * size.tokens / (2 * size.tokens + size.ptx_tokens)
    phases = table(found["spans"], found["seen"], tokens, done, skip=warm_up)
    s = sum(row["s"] or 0.0 for row in phases.values())
    kept = {name: found[name] for name in found if name not in ("spans", "seen")}
    return {"phases": phases, "iteration_s": s, "episodes_per_s": size.batch / s if s else None, **kept}


def printed(name: str, side: Mapping[str, Any]) -> list[str]:
    """A side's table in words."""
    if "failed" in side:
        return [f"{name}: {side['failed']}"]
    lines = [f"{name}: {side['iteration_s']:.1f} s an iteration, optimizer steps {side['steps']}"]
    for phase, row in side["phases"].items():
        cells = {
            "tok/s": row["tokens_per_s"], "TFLOP/s": row["tflops_per_s"], "busy %": row["busy_percent"],
            "peak MiB": row["peak_mib"], "device MiB": row["device_mib"],
        }  # fmt: skip
        told = ", ".join(f"{unit} {value:,.0f}" for unit, value in cells.items() if value is not None)
        lines.append(f"  {phase:6} {row['s']:8.2f} s  {told}")
    return lines


def equal_steps(sides: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether both sides took equally many optimizer steps: ours has two optimizers, TRL one for both models."""
    counts = {steps for side in sides.values() for steps in side.get("steps", [])}
    return all("steps" in side for side in sides.values()) and len(counts) == 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; the exit code is 2 without a device, else 0."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="two layers on a CPU: the same path, no figures of worth")
    parser.add_argument("--side", choices=["both", "ours", "trl"], default="both")
    parser.add_argument("--iterations", type=int, default=2, help="the first warms up, if there are several")
    parser.add_argument("--sampler", choices=["auto", "transformers", "vllm"], default="auto")
    parser.add_argument("--trl", type=Path, default=TRL, help="directory with trl-1.12.0 and shared")
    parser.add_argument("--directory", type=Path, default=ROOT / "var" / "bench-gpu")
    parser.add_argument("--budget-s", type=float, default=3600.0, help="of both sides together")
    parser.add_argument("--needs", action="store_true", help="print the packages that an image may lack, and end")
    given = parser.parse_args(arguments)
    if given.needs:
        for how, packages in NEEDS.items():
            print(f"pip install --target gpu-packages {how} {' '.join(packages)}")
        return 0
    if not given.tiny and not torch.cuda.is_available():
        print("bench-gpu: no CUDA device here; nothing is measured. --tiny runs the same path on a CPU.", flush=True)
        return NO_CUDA
    ends_s = time.monotonic() + given.budget_s
    size, device = (TINY, "cpu") if given.tiny else (REAL, "cuda")
    sampler = given.sampler
    if sampler == "auto":
        sampler = "vllm" if not given.tiny and importlib.util.find_spec("vllm") else "transformers"
    directory = given.directory / device
    log(f"{parameters(size) / 1e9:.3f} B parameters; models, tokenizer and prompts go to {directory}")
    write_problem(size, directory, torch.device(device))
    if device == "cuda":
        torch.cuda.empty_cache()
    sides: dict[str, Any] = {}
    for side in ("ours", "trl") if given.side == "both" else (given.side,):
        log(f"{side}: {given.iterations} iterations of {size.batch} episodes")
        told = {
            "directory": str(directory), "output": str(given.directory / side), "iterations": given.iterations,
            "size": asdict(size), "device": device, "sampler": sampler, "bf16": device == "cuda",
        }  # fmt: skip
        found = run(side, told, given.trl.resolve(), ends_s - time.monotonic())
        sides[side] = figures(side, found, size, warm_up=min(1, given.iterations - 1))
        print("\n".join(printed(side, sides[side])), flush=True)
    _report(given, size, sampler, device, sides)
    return 0


def _report(given: argparse.Namespace, size: Size, sampler: str, device: str, sides: Mapping[str, Any]) -> None:
    """Write and print the report; no speed is promised, so the only bar is that steps were equal."""
    name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    report(
        "gpu-tiny" if given.tiny else "gpu",
        {
            "device": name, "torch": torch.__version__, "parameters": parameters(size), "sampler": sampler,
            "memory_gib_expected": memory_gib(size, vllm=sampler == "vllm"), "load_average": os.getloadavg()[0],
            **sides,
        },
        [Bar("optimizer steps are equal", float(equal_steps(sides)), "==", 1.0)] if len(sides) == 2 else [],
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
