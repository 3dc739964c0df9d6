"""The two ways to an engine: whose directory is whose, and vLLM's calls as the installed version defines them.

A real engine takes weights by both in ``test_vllm_sampler.py``.
"""

from __future__ import annotations

import inspect
import os
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from tests.trainer.rollouts import cpu_handles
from trainer.maths.fingerprints import fingerprint
from trainer.rollouts.weight_transfer import EngineClient, Native, SharedMemory, own_directory, prepare_native


class Engine:
    """Notes what it is asked, in order; its worker counts what it was told to expect."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []

    def collective_rpc(self, method: str, args: tuple[Any, ...] = ()) -> list[int]:
        self.calls.append((method, args))
        return [2]

    def __getattr__(self, name: str) -> Any:
        return lambda *given: self.calls.append((name, *given))


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(3, 2)


def digests(model: nn.Module) -> dict[str, str]:
    return {name: fingerprint(parameter) for name, parameter in model.named_parameters()}


def test_pushed_weights_of_killed_processes_are_removed_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    mine, held = own_directory(tmp_path)
    fresh = tmp_path / f"{mine.name}-of-a-process-that-just-began"
    left = tmp_path / f"{mine.name}-of-a-killed-process"
    for each in (fresh, left):
        each.mkdir()
    for old in (mine, left):
        os.utime(old, (0, 0))
    other, also_held = own_directory(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([mine, fresh, other])
    os.close(held)
    os.close(also_held)


def test_shared_memory_holds_what_is_announced(model: nn.Module, tmp_path: Path) -> None:
    from trainer.rollouts.engine_worker import tensor_fingerprints

    engine = Engine()
    assert SharedMemory(engine, tmp_path).send(model, digests(model)) == [2]
    assert engine.calls == [("policy_reload", (str(tmp_path), digests(model)))]
    assert tensor_fingerprints(tmp_path / "model.safetensors") == digests(model)


def test_a_native_engine_is_a_process_of_its_own_that_may_unpickle_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("vllm")
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    monkeypatch.setenv("VLLM_ALLOW_INSECURE_SERIALIZATION", "0")
    assert prepare_native()["weight_transfer_config"].backend == "ipc"
    assert os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] == os.environ["VLLM_ALLOW_INSECURE_SERIALIZATION"] == "1"


def test_the_native_way_makes_vllms_calls_in_order_with_what_it_takes(
    model: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    """vLLM's own sender drives our client; every call must bind to the engine's method of the installed version."""
    pytest.importorskip("vllm")
    from vllm import LLM
    from vllm.distributed.weight_transfer.ipc_engine import IPCWeightTransferInitInfo, IPCWeightTransferUpdateInfo
    from vllm.v1.worker.gpu_worker import Worker

    for where, name, value in cpu_handles.replacements():
        monkeypatch.setattr(where, name, value)
    monkeypatch.setenv("VLLM_ALLOW_INSECURE_SERIALIZATION", "1")  # as it is where the update arrives
    engine = Engine()
    assert Native(engine).send(model, digests(model)) == [2]
    expect, *middle, taken = engine.calls
    assert (expect, taken) == (("policy_expect", (digests(model),)), ("policy_taken", ()))
    assert [name for name, *_ in middle] == [
        "init_weight_transfer_engine", "start_weight_update", "update_weights", "finish_weight_update",
    ]  # fmt: skip
    for name, *given in middle:
        inspect.signature(getattr(LLM, name)).bind(engine, *given)
        assert callable(getattr(Worker, name))
    IPCWeightTransferInitInfo(**middle[0][1]["init_info"])
    update = IPCWeightTransferUpdateInfo(**middle[2][1]["update_info"])
    assert update.names == ["weight", "bias"]
    arrived = [cpu_handles.rebuild_tensor(*handles["the CPU"][:6], 0) for handles in update.ipc_handles]
    found = dict(zip(update.names, map(fingerprint, arrived), strict=True))
    assert found == digests(model)


def test_the_installed_vllm_has_what_is_built_on() -> None:
    """Names that are not called on a CPU: an engine's options on a GPU, the protocol, the sender's parts."""
    pytest.importorskip("vllm")
    from vllm.config import WeightTransferConfig
    from vllm.distributed.weight_transfer.base import ModuleSource, VLLMWeightSyncClient
    from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory, WeightTransferTrainerFactory
    from vllm.distributed.weight_transfer.ipc_engine import IPCTrainerInitInfo
    from vllm.engine.arg_utils import EngineArgs

    options = {"kv_cache_memory_bytes", "gpu_memory_utilization", "enforce_eager", "weight_transfer_config"}
    assert options <= {each.name for each in fields(EngineArgs)}
    assert isinstance(EngineClient(Engine()), VLLMWeightSyncClient)
    assert WeightTransferConfig(backend="ipc").backend == IPCTrainerInitInfo.backend == "ipc"
    for factory in (WeightTransferEngineFactory, WeightTransferTrainerFactory):
        assert "ipc" in factory._registry
    wanted = inspect.signature(WeightTransferTrainerFactory.trainer_init)
    wanted.bind(IPCTrainerInitInfo(rank=0), client=SimpleNamespace(), source=ModuleSource(nn.Linear(1, 1)))
    assert IPCTrainerInitInfo(rank=0).packed is False, "one update brings all tensors, so that all are checked first"
