import socket
from pathlib import Path

import pytest

from feedback.errors import ConfigError
from workers import metrics


def test_a_taken_port_names_the_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"WHETSTONE_WORKERS_METRICS_PORT={port} cannot be used"):
            metrics.serve(port)
