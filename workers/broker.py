"""Kombu's Redis transport with one repair: a worker that cannot acknowledge a message goes on consuming.

Upstream keeps counting such a message as in hand. When the broker goes away while every pool process ends a task, all
places are taken for ever: the worker asks for nothing, so it never notices that the connection is gone, and stays idle
until somebody restarts it (measured: 3 of 3 short outages with 2 processes, Celery and kombu 5.7.0). Here the place is
freed; the message stays in the broker's list of unacknowledged ones and comes again after the visibility timeout, which
a task that may run twice does not mind.
"""

from kombu.transport import redis as kombu_redis
from kombu.transport import virtual
from redis.exceptions import ConnectionError, TimeoutError

UNREACHABLE = (ConnectionError, TimeoutError, OSError)


class QoS(kombu_redis.QoS):  # type: ignore[misc]  # kombu is untyped here
    """Counts messages in hand; frees the place of one that could not be acknowledged or rejected."""

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge a message; its place is free even if the broker does not hear of it."""
        try:
            super().ack(delivery_tag)
        except UNREACHABLE:
            virtual.QoS.ack(self, delivery_tag)
            raise

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Reject a message; its place is free even if the broker does not hear of it."""
        try:
            super().reject(delivery_tag, requeue=requeue)
        except UNREACHABLE:
            virtual.QoS.ack(self, delivery_tag)
            raise


class Channel(kombu_redis.Channel):  # type: ignore[misc]  # kombu is untyped here
    """A channel that counts with `QoS`."""

    QoS = QoS


class Transport(kombu_redis.Transport):  # type: ignore[misc]  # kombu is untyped here
    """What ``broker_transport`` names."""

    Channel = Channel
