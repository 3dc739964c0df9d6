"""What runs inside vLLM's worker process: reloading weights without stale copies, and ending with the server.

`PolicyReload` is mixed into vLLM's worker class by name, so there ``self`` is a worker.
"""

import os
import signal
import threading
import time
from typing import Any

import psutil  # type: ignore[import-untyped]  # comes with vLLM

SERVER_PID = "WHETSTONE_SERVER_PID"
"""Environment variable that holds the id of the serving process, set by it before it starts an engine."""
LOOK_S = 1.0
"""Seconds between two looks at whether the server is still there."""


class PolicyReload:
    """Adds `policy_reload` to the worker; called through ``collective_rpc``."""

    def policy_reload(self: Any, path: str) -> None:
        """Load the safetensors under ``path`` in place.

        On CPU, linear layers keep a prepacked copy of their weights that a reload refreshes only for layers named in
        the checkpoint. A tied output head is not named there, so its copy is packed again here.
        """
        self.reload_weights(weights_path=path)
        model = self.model_runner.get_model()
        if self.device.type == "cpu" and getattr(model.config, "tie_word_embeddings", False):
            model.lm_head.quant_method.process_weights_after_loading(model.lm_head)


def end_with_server(server: int) -> None:
    """Start a thread that kills this worker and its engine core once the server is no ancestor of theirs.

    vLLM ends workers with their core, but a core whose server was killed lives on and holds its memory.
    """
    parent = os.getppid()

    def watch() -> None:
        while server in {ancestor.pid for ancestor in psutil.Process().parents()}:
            time.sleep(LOOK_S)
        if parent != server:  # else worker and core are one process
            os.kill(parent, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="end-with-server", daemon=True).start()


if SERVER_PID in os.environ and os.environ[SERVER_PID] != str(os.getpid()):
    end_with_server(int(os.environ[SERVER_PID]))
