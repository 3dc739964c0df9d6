"""Labelers of a benchmark count what they saw, keep the pace, and try again under the same id until it is taken."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from benchmarks import desk
from benchmarks.desk import Book, Labeler, Sent


def sent(id: str = "a") -> Sent:
    return Sent(id=id, item="cmp", labeler="lee", ranking=[[0]], took_s=0.1, tries=1, repeated=False)


def test_a_book_gives_as_many_turns_as_are_wanted_and_a_refused_one_again() -> None:
    book = Book(most=2)
    assert [book.begin() for _ in range(3)] == [True, True, False]
    book.note("submit 404")
    assert book.begin()
    book.note(sent())
    assert (book.refused, [each.id for each in book.acknowledged()]) == ({"submit 404": 1}, ["a"])


def test_a_paced_book_gives_turns_no_faster() -> None:
    book, began = Book(most=4, per_s=50), time.monotonic()
    assert all(book.begin() for _ in range(4))
    assert time.monotonic() - began >= 0.06


def test_who_waits_for_acknowledgements_is_not_fooled_by_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "PATIENCE_S", 0.2)
    book = Book(most=2)
    threading.Timer(0.05, book.note, ["next 204"]).start()
    with pytest.raises(TimeoutError, match="next 204"):
        book.wait(1)
    book.note(sent())
    book.wait(1)


class Shaky(BaseHTTPRequestHandler):
    """Gives one item; takes its answer at the third try: once 503, once a connection that ends without an answer."""

    protocol_version = "HTTP/1.1"
    bodies: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("/next"):
            return self._say(200, {"item_id": "cmp_1", "token": 7, "completions": [{"index": 0}, {"index": 1}]})
        self.bodies.append(body)
        if len(self.bodies) == 1:
            return self._say(503, {})
        if len(self.bodies) == 2:
            self.close_connection = True
            return None
        return self._say(200, {"id": body["submission_id"]})

    def _say(self, status: int, answer: dict[str, Any]) -> None:
        text = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        if len(self.bodies) == 3:
            self.send_header("Idempotent-Replayed", "true")
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def test_a_labeler_tries_again_under_the_same_id_until_it_is_taken() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Shaky)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    book = Book(most=1)
    labeler = Labeler(server.server_port, "lee", "secret", book)
    labeler.start()
    labeler.join(30)
    server.shutdown()
    server.server_close()
    (found,) = book.acknowledged()
    assert (found.tries, found.repeated, found.item) == (3, True, "cmp_1")
    assert {body["submission_id"] for body in Shaky.bodies} == {found.id}
    assert all(body == Shaky.bodies[0] for body in Shaky.bodies)
