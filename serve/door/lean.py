"""A route that costs a caller one thread and no detours: who is asking, the body, then one plain function.

From outside, and in the API's document, it is like any other. FastAPI takes a thread for each dependency and one more
for the function, and walks over what comes back; labelers' next items and answers come often enough for that to count.
Knows dependencies made by `serve.door.auth.require` and by `serve.asking.schemas.body`, and paths; nothing else.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import msgspec
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

THREADS = 12
"""Most functions that run at once; they wait for the ledger, and what waits together is written together."""
POOL = ThreadPoolExecutor(THREADS, "lean")
Ask = Callable[[Request], Awaitable[Any]]


class Lean(APIRoute):
    """A route whose function is called in one thread with what its dependencies found."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request.

        Raises:
            TypeError: the route asks for something else than a caller, a body and parts of the path.
        """
        found, function, paths = self.dependant, self.dependant.call, self.dependant.path_params
        assert function is not None
        others = (found.query_params, found.header_params, found.cookie_params, found.body_params)
        if any(others) or found.request_param_name or found.response_param_name:
            raise TypeError(f"{self.path} asks for more than a lean route gives")
        asks: list[tuple[str, Ask]] = [(str(each.name), _asynchronous(each.call)) for each in found.dependencies]
        # who is asking comes first: a stranger's body is not read
        asks.sort(key=lambda each: not hasattr(each[1], "roles"))

        async def answer(request: Request) -> Response:
            given = {name: await ask(request) for name, ask in asks}
            for field in paths:
                value, faults = field.validate(request.path_params[field.alias], {}, loc=("path", field.alias))
                if faults:
                    raise RequestValidationError(faults)
                given[field.name] = value
            result = await asyncio.get_running_loop().run_in_executor(POOL, partial(function, **given))
            if isinstance(result, Response):
                return result
            return Response(msgspec.json.encode(result), media_type="application/json")

        return answer


def _asynchronous(call: Any) -> Ask:
    """Return the form of a dependency that does not block the event loop."""
    ask: Ask = getattr(call, "later", call)
    if not asyncio.iscoroutinefunction(ask):
        raise TypeError(f"{call} blocks; a lean route needs its asynchronous form")
    return ask
