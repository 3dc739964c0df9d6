"""vLLM's own OpenAI server with the arguments and the environment of our engine.

``python -m benchmarks.peers.bare POLICY NAME PORT`` reads the settings as ``python -m serve`` does and becomes vLLM's
server; only what stands in front of the engine is then another.
"""

import os
import sys
from pathlib import Path

from serve.engines.arguments import command_line, environment
from serve.settings import ServeSettings

MODULE = "vllm.entrypoints.launchers.api_server.entry"
"""What vLLM's command ``serve`` runs; the command itself needs metadata that vLLM's CPU distribution lacks."""


def main(policy: Path, name: str, port: int) -> None:
    """Replace this process by vLLM's server."""
    settings = ServeSettings.load()
    own = ["--host", "127.0.0.1", "--port", str(port), "--disable-uvicorn-access-log", "--uvicorn-log-level", "warning"]
    words = [sys.executable, "-m", MODULE, *command_line(settings, policy, name), *own]
    os.execve(sys.executable, words, {**os.environ, **environment(settings)})


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
