"""What surrounds every request: an id, a bound on the body, metrics without invented labels."""

from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from feedback import metrics
from serve import errors
from serve.middleware import Surround

LIMIT_BYTES = 1000


def make_client() -> TestClient:
    app = FastAPI()
    errors.install(app)

    @app.post("/things/{name}")
    async def take(name: str, request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    app.add_middleware(Surround, max_body_bytes=LIMIT_BYTES)
    return TestClient(app, raise_server_exceptions=False)


def requests_of(route: str, status: str) -> float:
    return metrics.REGISTRY.get_sample_value(
        "whetstone_requests_total", {"route": route, "status": status, "version": ""}
    ) or 0.0  # fmt: skip


def test_every_answer_carries_an_id_of_its_own() -> None:
    client = make_client()
    seen = {client.post(f"/things/{number}").headers["x-request-id"] for number in range(5)}
    assert len(seen) == 5
    assert all(id.startswith("req_") for id in seen)
    assert client.get("/nowhere").headers["x-request-id"]


def test_a_body_up_to_the_limit_is_taken_and_a_larger_one_refused() -> None:
    client = make_client()
    assert client.post("/things/a", content=b"x" * LIMIT_BYTES).json() == {"bytes": LIMIT_BYTES}
    answer = client.post("/things/a", content=b"x" * (LIMIT_BYTES + 1))
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "body_too_large"


def test_a_body_without_a_length_is_bounded_too() -> None:
    chunks = (b"x" * 100 for _ in range(20))
    assert make_client().post("/things/a", content=chunks).status_code == 413


def test_requests_are_counted_by_the_routes_template_and_never_by_a_path_that_somebody_made_up() -> None:
    before, other = requests_of("/things/{name}", "200"), requests_of("other", "404")
    client = make_client()
    client.post("/things/secret-name")
    client.get("/made/up/by/a/caller")
    assert requests_of("/things/{name}", "200") == before + 1
    assert requests_of("other", "404") == other + 1
    assert b"secret-name" not in str(list(metrics.REGISTRY.collect())).encode()
