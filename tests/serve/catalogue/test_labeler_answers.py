"""The bad-input catalogue, rows 80 to 88 and 92: what labelers submit, and what becomes of it.

Schema errors are 400 in the OpenAI envelope, as on all our routes; a lease that is gone, whosever it is now, is 409.
"""

import json
import re
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from feedback import labels, leases
from feedback.client import Ledger
from tests.conftest import RedisServer
from tests.serve.routes.conftest import World

pytestmark = pytest.mark.redis
ROWS = {*range(80, 89), 92}
PAYLOADS = ("<script>alert(1)</script>", "{{7*7}}${7*7}", "=cmd|' /C calc'!A0", "a\u2028b \u202egnp.exe", "' OR 1=1 --")


@pytest.fixture
def world(ledger: Ledger, tmp_path: Path) -> World:
    return World(ledger, tmp_path)


def leased(world: World, k: int = 4, owner: str = "ada", **settings: Any) -> dict[str, Any]:
    """Open a comparison, lease it, and return what the labeler sees."""
    world.comparison(k=k, **settings)
    answer = world.call("POST", "/v1/labeling/next", {"queue": "training"}, role="labeler", owner=owner)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def submit(world: World, item: dict[str, Any], owner: str = "ada", **fields: Any) -> Any:
    body = {"token": item["token"], "submission_id": str(uuid.uuid4()), "ranking": [[0], [1], [2], [3]], **fields}
    path = f"/v1/labeling/items/{item['item_id']}/submit"
    return world.call("POST", path, body, role="labeler", owner=owner)


def raw(world: World, item: dict[str, Any], **fields: str) -> Any:
    """Submit with fields that are spelled out in JSON."""
    known = {"token": str(item["token"]), "submission_id": f'"{uuid.uuid4()}"', "ranking": "[[0],[1],[2],[3]]"}
    text = ",".join(f'"{name}":{value}' for name, value in (known | fields).items())
    headers = {"Authorization": f"Bearer {world.secret('labeler')}", "Content-Type": "application/json"}
    path = f"/v1/labeling/items/{item['item_id']}/submit"
    return world.client.post(path, content=f"{{{text}}}".encode(), headers=headers)


def refused(world: World, answer: Any, status: int = 400) -> bool:
    """Tell whether an answer was refused in our envelope, with nothing stored."""
    assert answer.status_code == status, answer.text
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    return labels.count(world.ledger) == 0


def test_every_row_has_a_test() -> None:
    covered = {int(found[1]) for name in globals() if (found := re.match(r"test_row_(\d+)_", name))}
    assert covered == ROWS


def test_row_80_without_a_lease_or_with_another_labelers_nothing_is_taken(world: World) -> None:
    item = leased(world)
    assert refused(world, submit(world, item, owner="bob"), 409)
    assert refused(world, submit(world, {**item, "token": item["token"] + 1}), 409)
    never = {"item_id": world.comparison(k=4).id, "token": 1}
    assert refused(world, submit(world, never), 409)


def test_row_80_an_expired_lease_is_gone_and_an_answer_given_before_is_given_again(world: World) -> None:
    item = leased(world)
    leases.renew(world.ledger, item["item_id"], "ada", item["token"], lease_s=0.01)
    time.sleep(0.02)
    late = submit(world, item)
    assert refused(world, late, 409)
    assert late.json()["error"]["code"] == "lease_lost"
    second, same = leased(world), str(uuid.uuid4())
    answers = [submit(world, second, submission_id=same) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].content == answers[1].content


@pytest.mark.parametrize(
    "ranking",
    [
        [[0], [1], [1], [2]],
        [[0, 0], [1], [2], [3]],
        [[0], [1], [2], [3], [4]],
        [[7]],
        [],
        [[]],
        [[0], [], [1], [2], [3]],
        [[0]],
        [[0, 1, 2, 3]] * 10_000,
        [[0] * 10_000],
    ],
)
def test_row_81_a_ranking_of_what_is_not_there_or_twice_is_refused(world: World, ranking: Any) -> None:
    item = leased(world)
    assert refused(world, submit(world, item, ranking=ranking))
    assert submit(world, item).status_code == 200, "the lease lives on"


@pytest.mark.parametrize(
    "ranking",
    [
        "[[0],[1],[2],[3.0]]",
        "[[0],[1],[2],[3e0]]",
        "[[0],[1],[2],[-0.0]]",
        "[[0],[1],[2],[03]]",
        '[[0],[1],[2],["3"]]',
        "[[0],[true],[2],[3]]",
        "[[0],[1],[2],[null]]",
        "[[0],[1],[2],[[3]]]",
        "[0,1,2,3]",
        '"0123"',
        "{}",
        "null",
    ],
)
def test_row_82_an_index_is_an_integer_and_nothing_that_looks_like_one(world: World, ranking: str) -> None:
    assert refused(world, raw(world, leased(world), ranking=ranking))


def test_row_83_ties_where_they_are_off_and_all_ties_where_they_are_on(world: World) -> None:
    from feedback import queues

    queues.put(world.ledger, "training", ties=False)
    item = leased(world)
    assert refused(world, submit(world, item, ranking=[[0, 1], [2], [3]]))
    assert refused(world, submit(world, item, ranking=[[0, 1, 2, 3]]))
    assert submit(world, item).status_code == 200
    queues.put(world.ledger, "training", ties=True)
    time.sleep(1.1)  # what operators change counts a second later
    assert submit(world, leased(world), ranking=[[0, 1, 2, 3]]).status_code == 200


@pytest.mark.parametrize("index", ["9", "4", "-1", "18446744073709551616", "1e400"])
def test_row_84_an_index_beyond_the_completions_is_refused(world: World, index: str) -> None:
    assert refused(world, raw(world, leased(world), ranking=f"[[0],[1],[2],[{index}]]"))


@pytest.mark.parametrize("id", ["", "mine", "1", "../../etc", "0" * 31, "g" * 32, f"{uuid.UUID(int=1)}\n", " " * 36])
def test_row_85_a_submission_id_is_a_uuid(world: World, id: str) -> None:
    assert refused(world, submit(world, leased(world), submission_id=id))


def test_row_85_an_id_of_somebody_else_or_of_another_answer_is_a_conflict(world: World) -> None:
    same = str(uuid.uuid4())
    item = leased(world, overlap=2)
    assert submit(world, item, submission_id=same).status_code == 200
    theirs = world.call("POST", "/v1/labeling/next", {"queue": "training"}, role="labeler", owner="bob").json()
    answers = [
        submit(world, theirs, owner="bob", submission_id=same),
        submit(world, item, submission_id=same, ranking=[[3], [2], [1], [0]]),
        submit(world, item, submission_id=same, note="after all"),
        submit(world, leased(world), submission_id=same),
    ]
    assert [answer.status_code for answer in answers] == [409] * 4
    [(_, kept)] = list(labels.read(world.ledger))
    assert (kept.labeler, kept.ranking, kept.note) == ("ada", [[0], [1], [2], [3]], "")


@pytest.mark.parametrize("seconds", ["-5", "1000000000", '"5"', "true", "NaN", "1e999"])
def test_row_86_a_duration_that_cannot_be_is_refused(world: World, seconds: str) -> None:
    assert refused(world, raw(world, leased(world), active_s=seconds))
    assert refused(world, raw(world, leased(world), read_s=f"[{seconds},0,0,0]"))


@pytest.mark.parametrize("claimed", [0, 3600])
def test_row_86_no_more_time_is_believed_than_the_item_was_held(world: World, claimed: int) -> None:
    assert submit(world, leased(world), active_s=claimed, read_s=[claimed] * 4).status_code == 200
    [(_, label)] = list(labels.read(world.ledger))
    assert 0 <= label.active_s <= label.total_s < 60
    assert all(each <= label.total_s for each in label.read_s)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_row_87_a_note_is_kept_as_it_is_and_goes_nowhere_but_to_its_labeler(world: World, payload: str) -> None:
    item = leased(world)
    answer = submit(world, item, note=payload)
    assert answer.status_code == 200
    assert payload not in answer.text
    [(_, label)] = list(labels.read(world.ledger))
    assert label.note == payload
    own = world.call("GET", f"/v1/labeling/labels/{label.id}", role="labeler")
    assert own.headers["Content-Type"].startswith("application/json")
    assert own.json()["answer"]["note"] == payload


@pytest.mark.parametrize("note", ["\x00", "\x1b[2J", "x" * 4001, "\x7f"])
def test_row_87_control_characters_and_long_notes_are_refused(world: World, note: str) -> None:
    assert refused(world, submit(world, leased(world), note=note))


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "redis")
    server.start()
    yield server
    server.kill()


def test_row_88_while_the_ledger_is_away_nothing_is_taken_and_later_it_is_once(
    mortal: RedisServer, tmp_path: Path
) -> None:
    world = World(Ledger(mortal.url, timeout_s=1.0), tmp_path / "world", key_cache_s=15)
    item, same = leased(world), str(uuid.uuid4())
    world.call("GET", "/v1/labeling/queues", role="labeler")
    mortal.kill()
    began = time.monotonic()
    away = submit(world, item, submission_id=same)
    assert time.monotonic() - began < 2
    assert away.status_code == 503
    assert int(away.headers["Retry-After"]) >= 1
    mortal.start()
    answers = [submit(world, item, submission_id=same) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert len({answer.content for answer in answers}) == 1
    assert [label.id for _, label in labels.read(world.ledger)] == [same]


def out_of_memory(server: RedisServer) -> None:
    Ledger(server.url).redis.config_set("maxmemory", "1")


def without_replicas(server: RedisServer) -> None:
    Ledger(server.url).redis.config_set("min-replicas-to-write", "1")


def frozen(server: RedisServer) -> None:
    assert server.process is not None
    server.process.send_signal(signal.SIGSTOP)


@pytest.mark.parametrize("trouble", [out_of_memory, without_replicas, frozen])
def test_row_88_a_ledger_that_takes_no_writes_makes_no_2xx(
    mortal: RedisServer, tmp_path: Path, trouble: Callable[[RedisServer], None]
) -> None:
    world = World(Ledger(mortal.url, timeout_s=0.5), tmp_path / "world", key_cache_s=15)
    item, same = leased(world), str(uuid.uuid4())
    world.call("GET", "/v1/labeling/queues", role="labeler")
    trouble(mortal)
    away = [submit(world, item, submission_id=same) for _ in range(2)]
    assert [answer.status_code for answer in away] == [503, 503]
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in away)
    mortal.kill()
    mortal.start()
    assert list(labels.read(world.ledger)) == []
    assert submit(world, item, submission_id=same).status_code == 200
    assert [label.id for _, label in labels.read(world.ledger)] == [same]


def test_row_92_two_tabs_at_once_make_one_label(world: World) -> None:
    item, same = leased(world), str(uuid.uuid4())
    bodies = [{"submission_id": same}, {"submission_id": same}, {}, {"ranking": [[3], [2], [1], [0]]}]
    answers: list[Any] = []
    ready = threading.Barrier(len(bodies))

    def tab(fields: dict[str, Any]) -> None:
        ready.wait()
        answers.append((fields, submit(world, item, **fields)))

    tabs = [threading.Thread(target=tab, args=(fields,)) for fields in bodies]
    for each in tabs:
        each.start()
    for each in tabs:
        each.join()
    assert labels.count(world.ledger) == 1
    [(_, label)] = list(labels.read(world.ledger))
    won = [answer.content for _, answer in answers if answer.status_code == 200]
    assert {json.loads(content)["id"] for content in won} == {label.id}
    assert len(set(won)) == 1
    assert {answer.status_code for _, answer in answers} == {200, 409}
