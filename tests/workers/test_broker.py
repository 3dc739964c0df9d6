import logging
from pathlib import Path
from typing import Any

import pytest
from kombu import Queue

from workers.app import make_app
from workers.settings import WorkerSettings

logger = logging.getLogger(__name__)


@pytest.mark.parametrize("move", ["ack", "reject"])
def test_a_message_that_cannot_be_answered_for_frees_its_place(redis_server: Any, tmp_path: Path, move: str) -> None:
    mortal = type(redis_server)(tmp_path / "broker")
    mortal.start()
    app = make_app(WorkerSettings(broker_url=mortal.url))
    with app.connection_for_read() as connection:
        assert type(connection.transport).__module__ == "workers.broker"
        channel = connection.channel()
        channel.basic_qos(0, 1, False)
        taken: list[Any] = []
        consumer = app.amqp.TaskConsumer(channel, on_message=taken.append)
        consumer.consume()
        app.send_task("curate")
        connection.drain_events(timeout=10)
        [message] = taken
        assert not channel.qos.can_consume()
        mortal.kill()
        answer = message.ack_log_error if move == "ack" else message.reject_log_error
        answer(logger, connection.connection_errors)
        assert channel.qos.can_consume()


def test_an_acknowledged_message_is_gone_from_the_broker(broker: Any) -> None:
    app = make_app(WorkerSettings(broker_url=broker.url))
    with app.connection_for_read() as connection:
        channel = connection.channel()
        channel.client.flushall()
        app.send_task("sweep")
        message = Queue("upkeep")(channel).get()
        assert channel.client.hlen("unacked") == 1
        message.ack()
        assert channel.client.hlen("unacked") == 0
