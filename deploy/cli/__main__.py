"""``python -m deploy.cli``: the same as the command ``whetstone``."""

from deploy.cli.main import main

if __name__ == "__main__":
    main()
