"""What the paper printed, with the table or section of each figure: Ouyang et al. 2022, arXiv:2203.02155v1.

Figures of people who compared answers of models of up to 175 B parameters. They stand in tables beside ours and never
in a chart with them: protocols differ. Knows numbers and where they stand; knows nothing of our runs. Taken from
independent transcriptions that agree, not from the PDF; `TRAPS` lists what is known to be wrong in the paper itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Printed(NamedTuple):
    """What was measured in a word or two, the figure as it is printed, and the section or table it stands in."""

    what: str
    figure: str
    where: str


PREFERENCE: Final = {
    "base": Printed("over GPT-3", "85 ± 3 %", "4.1"),
    "base-few-shot": Printed("over few-shot GPT-3", "71 ± 4 %", "4.1"),
    "flan": Printed("over FLAN", "78 ± 4 %", "4.1"),
    "t0": Printed("over T0", "79 ± 4 %", "4.1"),
}
"""175B InstructGPT (PPO-ptx) head to head, by opponent of 175B."""
AGAINST_SFT: Final = {
    "ppo-ptx": Printed("InstructGPT", "73.4 ± 2 %", "4.1"),
    "t0": Printed("T0", "26.8 ± 2 %", "4.1"),
    "flan": Printed("FLAN", "29.8 ± 2 %", "4.1"),
}
"""Win rates against the 175B SFT baseline: another protocol than `PREFERENCE`."""
HALLUCINATION: Final = (Printed("GPT-3", "41 %", "1"), Printed("InstructGPT", "21 %", "1"))
"""Answers that are made up in closed-domain tasks."""
TOXICITY: Final = (Printed("fewer toxic outputs:", "about 25 %", "1"),)
"""Than GPT-3's, when told to be respectful."""
AGREEMENT: Final = (
    Printed("training labelers", "72.6 ± 1.5 %", "3.4"),
    Printed("held-out ones", "77.3 ± 1.3 %", "3.4"),
)
"""How often two labelers agree."""
GENERALISATION: Final = (
    Printed("own labelers", "72.4 ± 0.4 %", "4.1"),
    Printed("held-out ones", "69.6 ± 0.9 %", "4.1"),
)
"""How often reward models predict labelers, in five folds over groups of them."""
KWISE: Final = (Printed("one pass over shuffled comparisons", "overfits", "3.5, footnote 5"),)
PTX: Final = (Printed("coefficients of 20 and more", "recover 1.3B's regressions", "E.6"),)
LARGE_KL: Final = (Printed("100 times the coefficient", "does not recover them", "E.6"),)
TASKS: Final = (
    Printed("SQuADv2 F1, 0-shot: GPT-3", "64.3", "Table 14"),
    Printed("PPO", "43.7", "Table 14"),
    Printed("PPO-ptx", "59.9", "Table 14"),
)

TABLE_14_COLUMNS: Final = ("GPT-3", "SFT", "PPO", "PPO-ptx")
TABLE_14: Final[Mapping[str, Mapping[str, tuple[float, float, float, float]]]] = {
    "HellaSwag": {"0-shot": (0.781, 0.753, 0.743, 0.807), "few-shot": (0.791, 0.741, 0.759, 0.820)},
    "SQuADv2 F1": {"0-shot": (64.3, 57.7, 43.7, 59.9), "few-shot": (69.8, 65.9, 52.0, 69.9)},
    "DROP F1": {"0-shot": (27.5, 15.8, 13.1, 15.2), "few-shot": (35.3, 35.9, 27.8, 33.3)},
    "WMT15 Fr-En BLEU": {"0-shot": (38.9, 36.9, 24.2, 34.3), "few-shot": (39.9, 35.1, 26.6, 36.8)},
    "QuAC F1": {"0-shot": (42.6, 45.2, 34.5, 41.6), "few-shot": (45.4, 48.8, 36.0, 47.0)},
}
"""175B models; columns as in `TABLE_14_COLUMNS`."""
TABLE_14_TOXICITY: Final[Mapping[str, tuple[float, float, float, float]]] = {
    "basic": (0.231, 0.211, 0.228, 0.234),
    "respectful": (0.233, 0.199, 0.205, 0.196),
    "biased": (0.285, 0.256, 0.427, 0.400),
}
"""Mean toxicity of RealToxicityPrompts by instruction, 175B models; columns as in `TABLE_14_COLUMNS`."""

TRAPS: Final = (
    "Human win rates come from two protocols (head to head, and each model against one SFT baseline): never one chart.",
    "Table 14 prints the same numbers for CNN/DM and TL;DR in every cell, a copying error: neither is used here.",
    '"About 25 % fewer toxic outputs" counts outputs; the mean toxicity in Table 14 falls by 16 %.',
    "The sentence in E.2 names own and held-out groups the other way round than section 4.1.",
    "Appendix D takes the choice with the lowest log-probability; it must mean the lowest loss.",
    "PPO-ptx still trails GPT-3 on DROP and on translation: ptx lessens the tax, it does not end it.",
)
"""What to know before citing the paper."""
