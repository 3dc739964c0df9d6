"""``python -m serve``: starts `serve.server.main`.

An engine's processes run this file again under another name; there it only makes them end with their parent, so that
a serving process that is killed leaves none behind.
"""

import os
import signal
import sys
import threading
import time

LOOK_S = 1.0
"""Seconds between two looks at whether the parent is still there."""
PARENT = "WHETSTONE_PARENT_PID"
"""Environment variable in which each process tells its children its own id, so that they know even after its end."""


def end_with_parent() -> None:
    """Start a thread that kills this process once its parent is gone."""
    parent = int(os.environ.get(PARENT, os.getppid()))
    os.environ[PARENT] = str(os.getpid())

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK_S)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()


if __name__ == "__mp_main__":
    end_with_parent()
elif __name__ == "__main__":
    from serve.server import main

    os.environ[PARENT] = str(os.getpid())
    # Without a spec multiprocessing runs this file in spawned children; it skips files named __main__ that have one.
    sys.modules["__main__"].__spec__ = None
    sys.exit(main())
