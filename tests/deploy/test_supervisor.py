"""Processes are started, watched and ended together, and none is left behind."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploy.supervisor import ProcessFailed, Service, Supervisor, free_port, require_free
from feedback.errors import ConfigError

SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]


def alive(pid: int) -> bool:
    """Tell whether a process runs; one that ended and waits for its parent to notice does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_everything_started_is_ended_when_the_block_is_left(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as supervisor:
        for name in ("one", "two"):
            supervisor.start(Service(name=name, command=SLEEPER))
        pids = [supervisor.pid("one"), supervisor.pid("two")]
        assert all(map(alive, pids))
    assert not any(map(alive, pids))


def test_grandchildren_are_ended_too(tmp_path: Path) -> None:
    parent = (
        "import subprocess, sys, time;"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']);"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid)); time.sleep(600)"
    )
    written = tmp_path / "pid"
    with Supervisor(tmp_path / "logs") as supervisor:
        service = Service(name="parent", command=[sys.executable, "-c", parent], ready=lambda: written.exists())
        supervisor.start(service)
        supervisor.wait(service)
        time.sleep(0.2)
        grandchild = int(written.read_text())
        assert alive(grandchild)
    time.sleep(0.2)
    assert not alive(grandchild)


def test_a_process_that_ends_by_itself_is_reported_with_its_last_words(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as supervisor:
        service = Service(
            name="short",
            command=[sys.executable, "-c", "print('no such door'); raise SystemExit(3)"],
            ready=lambda: False,
        )
        supervisor.start(service)
        with pytest.raises(ProcessFailed, match=r"short ended with exit code 3: no such door \(log: .*short.log\)"):
            supervisor.wait(service)


def test_a_process_that_never_becomes_ready_is_reported(tmp_path: Path) -> None:
    with Supervisor(tmp_path) as supervisor:
        service = Service(name="idle", command=SLEEPER, ready=lambda: False, ready_s=0.3)
        supervisor.start(service)
        with pytest.raises(ProcessFailed, match=r"idle was not ready in 0 s"):
            supervisor.wait(service)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_leave_no_process_behind(tmp_path: Path, number: signal.Signals) -> None:
    program = f"""
import time
from pathlib import Path
from deploy.supervisor import Service, Supervisor
try:
    with Supervisor(Path({str(tmp_path)!r})) as supervisor:
        supervisor.start(Service(name="sleeper", command={SLEEPER!r}))
        Path({str(tmp_path / "pid")!r}).write_text(str(supervisor.pid("sleeper")))
        time.sleep(600)
except KeyboardInterrupt:
    raise SystemExit(130)
"""
    # A shell's background job ignores Ctrl-C, and so would its children; a person's terminal does not.
    process = subprocess.Popen(
        [sys.executable, "-c", program], preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    )
    written = tmp_path / "pid"
    deadline_s = time.monotonic() + 30
    while not (written.exists() and written.read_text()):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    sleeper = int(written.read_text())
    process.send_signal(number)
    assert process.wait(30) == 130
    assert not alive(sleeper)


def test_a_taken_port_is_one_clear_error() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} is taken; choose another with --port"):
            require_free(port, "--port")
    assert require_free(free_port(), "--port")
