"""The mutations of all fifty items; at least one of each."""

from tests.trainer.checklist.mutations_01_17 import FIRST
from tests.trainer.checklist.mutations_18_30 import SECOND

MUTATIONS = [*FIRST, *SECOND]
