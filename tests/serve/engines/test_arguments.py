"""What an engine is started with."""

from itertools import pairwise
from pathlib import Path

import pytest

from serve.settings import ServeSettings

pytest.importorskip("vllm")


def test_settings_reach_the_command_line() -> None:
    from serve.engines.arguments import command_line

    settings = ServeSettings.load(max_num_seqs=7, max_model_len=128, kv_cache_gib=0.5, max_tokens=33)
    words = command_line(settings, Path("somewhere"), "policy-0007")
    given = dict(pairwise(words))
    assert given["--model"] == "somewhere"
    assert given["--served-model-name"] == "policy-0007"
    assert given["--max-num-seqs"] == "7"
    assert given["--max-model-len"] == "128"
    assert given["--kv-cache-memory-bytes"] == str(1 << 29)
    assert given["--override-generation-config"] == '{"max_new_tokens": 33}'
    assert given["--scheduling-policy"] == "priority"
    assert "--enforce-eager" in words
    assert "--enforce-eager" not in command_line(ServeSettings.load(enforce_eager=False), Path("x"), "policy-0001")


def test_switches_choose_how_answers_are_held_to_a_form() -> None:
    from serve.engines.arguments import command_line

    plain = command_line(ServeSettings.load(), Path("x"), "policy-0001")
    assert not {"--structured-outputs-config", "--enable-auto-tool-choice", "--tool-call-parser"} & set(plain)
    held = command_line(ServeSettings.load(structured_output=True), Path("x"), "policy-0001")
    assert '"xgrammar"' in dict(pairwise(held))["--structured-outputs-config"]
    assert "--enable-auto-tool-choice" not in held
    calling = command_line(ServeSettings.load(tools=True, tool_parser="qwen3_xml"), Path("x"), "policy-0001")
    assert dict(pairwise(calling))["--tool-call-parser"] == "qwen3_xml"
    assert {"--structured-outputs-config", "--enable-auto-tool-choice"} <= set(calling)


def test_bound_cores_need_the_worker_process_that_binds_them() -> None:
    from serve.engines.arguments import command_line, environment

    free, bound = ServeSettings.load(cpu_cores="nobind"), ServeSettings.load(cpu_cores="0-1")
    if not environment(free):
        pytest.skip("not a CPU platform")
    assert environment(free)["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
    assert "uni" in command_line(free, Path("x"), "policy-0001")
    assert environment(bound) == {"VLLM_CPU_OMP_THREADS_BIND": "0-1", "TORCHDYNAMO_DISABLE": "1"}
    assert "uni" not in command_line(bound, Path("x"), "policy-0001")
