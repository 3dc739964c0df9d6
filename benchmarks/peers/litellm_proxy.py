"""A LiteLLM proxy in front of another OpenAI-compatible server, set up as its documentation says for production.

It lives in a virtual environment of its own, which ``benchmarks/peers/setup.sh`` makes. No database, no callbacks, no
telemetry, errors logged only: it authenticates, routes and passes on, and keeps nothing.
"""

import json
from pathlib import Path

PROGRAM = Path("var/peers/litellm/bin/litellm")
"""Relative to the checkout."""
KEY = "sk-benchmark"
MODEL = "policy"
ENVIRONMENT = {
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOG": "ERROR",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else it asks the internet for prices
    "NO_PROXY": "127.0.0.1",
    "OTEL_SDK_DISABLED": "true",
}


def write_config(target: Path, url: str, served: str) -> Path:
    """Write the proxy's configuration for the model that the server at ``url`` calls ``served``; return its path."""
    parameters = {"model": f"hosted_vllm/{served}", "api_base": f"{url}/v1", "api_key": "none"}
    config = {
        "model_list": [{"model_name": MODEL, "litellm_params": parameters}],
        "general_settings": {"master_key": KEY, "disable_spend_logs": True, "disable_error_logs": True},
        "litellm_settings": {"set_verbose": False, "telemetry": False, "request_timeout": 600},
    }
    target.write_text(json.dumps(config, indent=1))  # JSON is YAML
    return target


def command(root: Path, config: Path, port: int, workers: int) -> list[str]:
    """Return the program and its arguments."""
    words = ["--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", str(workers)]
    return [str(root / PROGRAM), *words]
