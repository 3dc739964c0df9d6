"""The command line ``whetstone``: watch the loop, hand out keys, promote, roll back, ask for rounds.

It works on the ledger itself, so it does what it says when the API is down. Exit codes: 0 done, 1 refused or not found,
2 wrong usage or setting, 3 the ledger cannot be reached.
"""

from deploy.cli.main import main as main
