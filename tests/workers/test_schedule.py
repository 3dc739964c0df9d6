from workers.schedule import QUEUE_OF, QUEUES, timetable
from workers.settings import WorkerSettings


def test_every_entry_names_a_task_with_a_queue_and_expires() -> None:
    table = timetable(WorkerSettings())
    assert set(table) == {"curate", "sweep", "audit", "archive", "copy"}
    for entry in table.values():
        assert entry["options"]["queue"] == QUEUE_OF[entry["task"]]
        assert entry["options"]["expires"] > entry["schedule"]


def test_sampling_has_a_queue_of_its_own() -> None:
    assert [name for name, queue in QUEUE_OF.items() if queue == "sampling"] == ["sample"]
    assert set(QUEUE_OF.values()) == set(QUEUES)
