"""Seeded requests, many at a time: what sampling for comparisons asks of an engine."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

pytestmark = [pytest.mark.vllm, pytest.mark.redis]


def test_seeded_prompts_that_exceed_one_step_together_leave_the_engine_alive(server: Any) -> None:
    def ask(number: int) -> list[str]:
        text = f"{number} " + "word " * 60
        answer = server.ask(
            messages=[{"role": "user", "content": text}], n=4, seed=1000 + 4 * number, temperature=1.0, max_tokens=4
        )
        assert answer.status_code == 200, answer.text
        return [choice["message"]["content"] for choice in answer.json()["choices"]]

    with ThreadPoolExecutor(20) as pool:  # 80 places, which one key may hold
        answers = list(pool.map(ask, range(20)))
    assert all(len(texts) == 4 for texts in answers)


def test_choice_i_of_a_seeded_request_is_what_seed_plus_i_gives_alone(server: Any) -> None:
    together = server.ask(n=3, seed=77, temperature=1.0, max_tokens=8).json()["choices"]
    alone = [server.ask(n=1, seed=77 + index, temperature=1.0, max_tokens=8).json()["choices"][0] for index in range(3)]
    assert [each["message"]["content"] for each in together] == [each["message"]["content"] for each in alone]
