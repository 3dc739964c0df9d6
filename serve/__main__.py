"""``python -m serve``: starts `serve.server.main`."""

import sys

from serve.server import main

if __name__ == "__main__":  # an engine's processes may import this module under another name
    sys.exit(main())
