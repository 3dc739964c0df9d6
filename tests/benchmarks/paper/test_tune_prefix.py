"""A prefix is worth what the gold taste says of the base's answers behind it, the same every time."""

from benchmarks.paper.fewshot import Prefix
from benchmarks.paper.tune_prefix import judge_prefixes


def test_the_worth_of_a_prefix_is_a_mean_of_gold_scores() -> None:
    worth = judge_prefixes()
    prompts = ["Mia lives in Rome. Where does Mia live?", "What is the color of snow?", "Count to three for Tom."]
    none, ballast = Prefix("line", ()), Prefix("turns", (("Is a cow an animal or a plant?", "An animal."),) * 3)
    assert worth(none, prompts) == worth(none, prompts)
    assert -3.4 <= worth(ballast, prompts) <= 1.6
    assert worth(none, prompts * 8) > worth(ballast, prompts * 8)
