"""The pages and their static files: templates in, headers that forbid everything a page does not need.

Knows which files exist; the pages themselves talk to the API as any other client would.
"""

from collections.abc import Callable
from pathlib import Path

from fastapi import APIRouter
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse

HERE = Path(__file__).parent
PAGES = {
    "playground": "Playground",
    "labeling": "Labeling",
    "writing": "Writing",
    "operations": "Operations",
    "review": "Review",
    "quality": "Quality",
}
PLAIN = {
    "privacy": "What is stored",
    "share": "A shared chat",
}
"""Pages that need no key, beside those in the bar."""
MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-cache",
}
"""No inline script or style, nothing from elsewhere, no HTML made from strings, no framing."""


def make_router(interaction_days: int, max_tokens: int) -> APIRouter:
    """Return the pages; they need nothing but the API of the process that serves them.

    Args:
        interaction_days: how long logged interactions are kept, days; the page on what is stored says so.
        max_tokens: most tokens that one answer may have; the Playground offers no more.
    """
    router = APIRouter(include_in_schema=False)
    templates = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined)
    static = static_files()

    @router.get("/")
    def root() -> RedirectResponse:
        return RedirectResponse("/playground", headers=HEADERS)

    def page(name: str) -> Callable[[], HTMLResponse]:
        facts = {
            "page": name,
            "pages": PAGES,
            "titles": PAGES | PLAIN,
            "interaction_days": interaction_days,
            "max_tokens": max_tokens,
        }
        html = templates.get_template(f"{name}/{name}.html").render(facts)
        return lambda: HTMLResponse(html, headers=HEADERS)

    for name in (*PAGES, *PLAIN):
        router.add_api_route(f"/{name}", page(name), methods=["GET"])

    @router.get("/static/{page}/{name}")
    def file(page: str, name: str) -> FileResponse:
        path = static.get(f"{page}/{name}")
        if path is None:
            raise HTTPException(404)
        return FileResponse(path, media_type=MEDIA_TYPES[path.suffix], headers=HEADERS)

    return router


def static_files() -> dict[str, Path]:
    """Return ``page/file`` -> path of everything that may be fetched; a name that is not listed does not exist."""
    return {f"{path.parent.name}/{path.name}": path for path in HERE.glob("*/*") if path.suffix in MEDIA_TYPES}
