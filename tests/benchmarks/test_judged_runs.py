"""What tells two completions of a prompt apart."""

from benchmarks.judged_runs import key_of


def test_a_completion_that_was_cut_is_another_than_the_same_words_that_ended() -> None:
    said = [{"text": "red", "finished": True}, {"text": "red", "finished": False}, {"text": "blue", "finished": True}]
    assert len({key_of(each) for each in said}) == 3
    assert key_of(said[0]) == key_of(dict(said[0]))
