"""The mutations of all fifty items; at least one of each."""

from tests.trainer.checklist.mutations_01_17 import FIRST
from tests.trainer.checklist.mutations_18_30 import SECOND
from tests.trainer.checklist.mutations_31_41 import THIRD
from tests.trainer.checklist.mutations_42_50 import FOURTH

MUTATIONS = [*FIRST, *SECOND, *THIRD, *FOURTH]
