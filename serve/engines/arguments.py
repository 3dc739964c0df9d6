"""The command line and the environment of one vLLM engine: from our settings to vLLM's.

Import it before vLLM is used anywhere: parts of the environment are read when vLLM is imported.
"""

import json
import os
from argparse import Namespace
from pathlib import Path

from serve.settings import ServeSettings

# Read by vLLM when it is imported or when it starts a process.
os.environ.setdefault("VLLM_WORKER_MULTIPROC_METHOD", "spawn")  # a fork would inherit sockets, threads and locks
os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("VLLM_MAX_N_SEQUENCES", "9")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # policies are local directories; never a download

from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
from vllm.platforms import current_platform
from vllm.utils.argparse_utils import FlexibleArgumentParser

STRUCTURED = {"backend": "xgrammar", "disable_any_whitespace": True}
"""The backend that schemas are tried out on, never another one that it falls back to; answers without idle spaces."""


def arguments(settings: ServeSettings, path: Path, version: str) -> Namespace:
    """Return vLLM's parsed arguments for a policy; sets the environment of the processes that it will start."""
    os.environ.update(environment(settings))
    args: Namespace = make_arg_parser(FlexibleArgumentParser()).parse_args(command_line(settings, path, version))
    validate_parsed_serve_args(args)
    return args


def command_line(settings: ServeSettings, path: Path, version: str) -> list[str]:
    """Return the words that vLLM's own server would be started with."""
    words = [
        *("--model", str(path), "--served-model-name", version, "--dtype", settings.dtype),
        *("--max-num-seqs", str(settings.max_num_seqs)),
        *("--load-format", "safetensors", "--generation-config", "vllm"),
        *("--override-generation-config", json.dumps({"max_new_tokens": settings.max_tokens})),
        *("--gpu-memory-utilization", str(settings.gpu_memory_utilization), "--disable-fastapi-docs"),
        *("--scheduling-policy", "priority"),  # what waits inside: customers before sampling
    ]
    if settings.max_model_len is not None:
        words += ["--max-model-len", str(settings.max_model_len)]
    if settings.kv_cache_gib is not None:
        words += ["--kv-cache-memory-bytes", str(int(settings.kv_cache_gib * 2**30))]
    if settings.structured_output or settings.tools:
        words += ["--structured-outputs-config", json.dumps(STRUCTURED)]
    if settings.tools:
        words += ["--enable-auto-tool-choice", "--tool-call-parser", settings.tool_parser]
    if settings.enforce_eager:
        words.append("--enforce-eager")
    if current_platform.is_cpu():
        # A prompt that is prefilled in parts ends the engine if its request has a seed: vLLM then rewinds the seed's
        # generator by an offset, which CPU generators do not have.
        words.append("--no-enable-chunked-prefill")
        if settings.cpu_cores == "nobind":
            words += ["--distributed-executor-backend", "uni"]
    return words


def environment(settings: ServeSettings) -> dict[str, str]:
    """Return the variables that an engine on this platform needs."""
    if not current_platform.is_cpu():
        return {}
    variables = {"VLLM_CPU_OMP_THREADS_BIND": settings.cpu_cores}
    if settings.enforce_eager:
        # Helpers that vLLM compiles all the same need a C++ compiler, and half a minute at the first start.
        variables["TORCHDYNAMO_DISABLE"] = "1"
    if settings.cpu_cores == "nobind":
        # One process an engine instead of two halves its start (9 s for 17 s, measured) at the same speed. vLLM
        # insists on a worker process only so that it can bind its threads, unless this variable is 0.
        variables["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    return variables
