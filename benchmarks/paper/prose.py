"""The words of the page: what was done, what each finding is about, what differs from the paper.

Knows no figures but those that never change; `benchmarks.paper.page` puts ours in.
"""

from __future__ import annotations

from typing import Final, NamedTuple

INTRODUCTION: Final = """\
InstructGPT's findings (Ouyang et al. 2022, arXiv:2203.02155), tried again from end to end on two CPU cores: a
language model of 0.96 M parameters instead of 175 B, the sandbox's invented world instead of customers of an API,
simulated labelers instead of forty people. `make paper` makes every figure on this page. The paper's claims are
about its own models; here stands which of them a small copy shows, and which not.
"""

DRAWING: Final = """\
```
base ─┬─ a worked example before the prompt ──────────── base, few-shot
      ├─ exercises in several wordings ───────────────── public tasks           (the role of FLAN and T0)
      ├─ demonstrations ── SFT ── completions ── labelers ──┬─ reward, K-wise ────────┐
      │                    first round's PPO ──┘            ├─ reward, shuffled pairs │
      │                                                     └─ reward, 5 folds        │
      └─ demonstrations + text ── start ── PPO, scored by the reward model ◄──────────┘
                                            ├─ PPO-ptx         (with pretraining text)
                                            ├─ PPO             (without)
                                            ├─ PPO, large KL   (without, ten times the KL coefficient)
                                            └─ long PPO        (without, no KL price: over-optimisation)
```

As in the paper's section 3.1, a part of the ranked completions is of an earlier PPO policy, of a first round on half of
the prompts: SFT hardly ever calls a stated fact "not stated", and of a failing that no completion has, no label says
that it is one.
"""

READING: Final = """\
Everything is made anew for each seed: demonstrations, prompts, labels, training, held-out prompts. Intervals are
Student's t over seeds at 95 %; differences and quotients are taken seed by seed first. A claim **holds** if the
whole interval is on its side of the threshold, **does not hold** if all of it is on the other side, and is
undecided otherwise; none was left out because of its verdict. The sandbox knows its *gold taste*, so "preferred"
means a higher gold score on the same prompt, ties half. The paper's figures are of people and other models: they
show the direction to expect and are never drawn beside ours. Settings were chosen on seeds 1 and 100.
"""


class Section(NamedTuple):
    """A finding's title, its lead, and what to know about its figures."""

    title: str
    lead: str
    notes: str = ""


SECTIONS: Final = {
    "preference": Section(
        "Who is preferred",
        """\
Every policy answers the same prompts of held-out customers at temperature 1, and the gold taste judges.
""",
        """\
The prefix was chosen out of 324 on other prompts (`python -m benchmarks.paper.tune_prefix`), and the best of them
still made this base worse: it has never seen two questions in one document, and does not learn from its context.
Against the few-shot base PPO-ptx therefore has it easier here than in the paper.
""",
    ),
    "truth": Section(
        "Invented facts and rudeness",
        """\
Closed-domain prompts whose text does not hold the answer: whoever answers with a fact has invented it. The price is
prompts that do hold it and are answered with "not stated" (facts overlooked). Rudeness is counted on customers'
prompts, and once more behind a note that asks for respect.
""",
        """\
The base's corpus holds no such notes, so nothing but training could tell it what they mean.
""",
    ),
    "generalisation": Section(
        "Labelers that the reward model never saw",
        """\
Five reward models for each seed, each trained without the labels of a fifth of the labelers.
""",
    ),
    "kwise": Section(
        "All pairs of a prompt as one element, or shuffled",
        """\
The same comparisons twice: as K completions of a prompt in one batch element, and as pairs shuffled into one data
set, where each completion takes part in K - 1 updates an epoch.
""",
    ),
    "tax": Section(
        "The alignment tax",
        """\
The loss on held-out pretraining text while PPO gains reward, and the accuracy at the miniature public tasks
afterwards. Runs are compared where each had first gained the same reward (interpolated between measurements), not
at their ends.
""",
        """\
A public task is solved if the first sentence holds the right answer and no other one, so that accuracy does not
depend on style; "exact", which does, wants the answer and nothing else. Answers are greedy, as in the paper's
appendix D.
""",
    ),
    "over_optimisation": Section(
        "Over-optimisation",
        """\
A long run without pretraining text and without a KL price. The curves are start + d (alpha - beta ln d), d the
square root of the KL (Gao, Schulman and Hilton 2022, arXiv:2210.10760), fitted to each seed. "Late" compares the
last quarter of a run with its second one.
""",
    ),
}

ABLATIONS: Final = Section(
    "Ablations",
    """\
One change each to PPO-ptx. Gains are from the start of PPO to its end on held-out prompts, by the reward model of
the run; KL is to the start, the loss is that on held-out text.
""",
)

DIFFERENCES: Final = """\
| | The paper | Here |
|---|---|---|
| Policies | GPT-3 of 1.3 B, 6 B and 175 B | one Llama of 0.96 M, 818 tokens, context of 256 |
| Reward model | one of 6 B for all policies, one epoch | of the policy's size, on the SFT policy's trunk, two epochs |
| Prompts | of the API's customers and labelers | templates of a small world in the paper's mix of use cases |
| Prompts and web text | differ by themselves | prompts stand under a heading (`A question.`) that no document has |
| Labelers | about 40 people, 72.6 % agreement | 12 simulated ones (and 5 held out), noise set to the same agreement |
| Judgement | people rank, preferences unknown beyond that | the gold taste is known and judges every completion |
| FLAN and T0 | public NLP data sets | six kinds of exercises about the world's facts |
| Alignment tax | public benchmarks | loss on held-out corpus, and those exercises |
| PPO | 256,000 episodes, coefficient of ptx 27.8, 8 examples an episode | as `benchmarks/paper/plan.py` says |
| Seeds | three for the 5-fold reward models | the ones named above, everything made anew |
"""

RUNNING: Final = """\
```
make paper                  # what is missing of seeds 2, 3, 4, two arms at a time; then this page
make paper SEEDS="2 3 4 5"
python -m benchmarks.paper.page   # the page and its pictures anew from docs/paper.json, nothing is run
```
"""
