"""What does each address answer? Recommendations, similar items, reasons, health, and a page for people."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from importlib import resources
from typing import Annotated

import anyio.to_thread
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from gnas_ext.errors import InputError
from gnas_ext.serve import questions as ask
from gnas_ext.serve.answers import explained, found, recommended, similar
from gnas_ext.serve.current import Current
from gnas_ext.serve.guard import HEADERS, Guard

log = logging.getLogger("gnas_ext.serve")

PAGE = {
    "/": ("serve/page/index.html", "text/html"),
    "/theme.css": ("style/theme.css", "text/css"),
    "/page.css": ("serve/page/page.css", "text/css"),
    "/page.js": ("serve/page/page.js", "text/javascript"),
}
FAILURES: dict[int | str, dict[str, object]] = {
    422: {"model": ask.Failure, "description": "An id that is not known, or a question that cannot be answered."},
    413: {"model": ask.Failure, "description": f"A body above {ask.LONGEST_BODY} bytes."},
}


def make_app(current: Current, watch_s: float = 2.0, hosts: Collection[str] | None = None) -> FastAPI:
    """The application.

    Args:
        current: which artefact answers.
        watch_s: seconds between two looks at whether the folder has changed; 0 for none.
        hosts: names that a request may be for; None for any.

    Answers are computed in as many threads as there are processors. What is wrong is one line of JSON,
    `{"error": "…"}`: 422 for input that cannot be used, 413 and 408 for a body that is too long or does not come, 421
    for another host, 500 for a mistake of ours, which is logged and not shown.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = max(2, len(os.sched_getaffinity(0)))
        watch = asyncio.create_task(_watch(current, watch_s)) if watch_s > 0 else None
        yield
        if watch is not None:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch

    app = FastAPI(
        title="gnas_ext",
        summary="Recommendations from an artefact.",
        lifespan=lifespan,
        # The pages for these load scripts from elsewhere; /openapi.json is there.
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(Guard, longest=ask.LONGEST_BODY, hosts=hosts)
    app.add_exception_handler(RequestValidationError, _refuse_question)
    app.add_exception_handler(InputError, _refuse_input)
    app.add_exception_handler(HTTPException, _refuse_request)
    app.add_exception_handler(Exception, _fail)

    @app.post("/recommend", responses=FAILURES)
    def recommend(question: ask.RecommendQuestion) -> ask.Recommended:
        """Lists for users of the log, or for somebody who touched some items."""
        return recommended(current.now, question)

    @app.get("/similar", responses=FAILURES)
    def similar_(
        item: Annotated[str, Query(min_length=1, max_length=ask.LONGEST_ID)], k: Annotated[ask.Length, Query()] = 20
    ) -> ask.Similar:
        """The items that are most like one."""
        return similar(current.now, item, k)

    @app.post("/explain", responses=FAILURES)
    def explain(question: ask.ExplainQuestion) -> ask.Explained:
        """A score as a sum over what was touched."""
        return explained(current.now, question)

    @app.get("/items", responses=FAILURES)
    def items(
        q: Annotated[str, Query(min_length=1, max_length=ask.LONGEST_ID)],
        limit: Annotated[int, Query(ge=1, le=100)] = 10,
    ) -> ask.Found:
        """Items whose title holds these words, those that most users touched first."""
        return found(current.now, q, limit)

    @app.get("/healthz")
    async def healthz() -> ask.Health:
        """What answers, and whether a reload failed."""
        now = current.now
        return ask.Health(
            status="ok",
            name=now.recommender.manifest.name,
            artefact=now.sha256,
            users=now.recommender.n_users,
            items=now.recommender.n_items,
            since=now.since.isoformat(timespec="seconds"),
            reloads=current.reloads,
            reload_error=current.error,
        )

    for path, (name, kind) in PAGE.items():
        app.add_api_route(path, _page(name, kind), methods=["GET"], include_in_schema=False)
    return app


async def _watch(current: Current, seconds: float) -> None:
    """Looks at the folder again and again, whatever goes wrong."""
    while True:
        await asyncio.sleep(seconds)
        try:
            await asyncio.to_thread(current.refresh)
        except Exception:
            log.exception("the folder could not be looked at")


def _page(name: str, kind: str) -> Callable[[], Response]:
    text = resources.files("gnas_ext").joinpath(name).read_text(encoding="utf-8")

    def page() -> Response:
        return Response(text, media_type=f"{kind}; charset=utf-8")

    return page


def _line(status: int, words: str) -> JSONResponse:
    return JSONResponse({"error": " ".join(words.split())}, status)


async def _refuse_question(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first, *others = error.errors()
    if first["type"] == "json_invalid":
        return _line(422, f"the body is not valid JSON at character {first['loc'][-1]}")
    if isinstance(first.get("input"), bytes):
        return _line(422, "expected a header content-type: application/json, and a body in JSON")
    where = ".".join(str(part) for part in first["loc"][1:]) or "the question"
    more = f" (and {len(others)} more)" if others else ""
    return _line(422, f"{where}: {first['msg'].removeprefix('Value error, ')}{_given(first)}{more}")


def _given(error: dict[str, object]) -> str:
    """What came, where that is a value and not a whole body."""
    given = error.get("input")
    if given is None or isinstance(given, list | dict):
        return ""
    words = repr(given)
    return f", got {words if len(words) <= 60 else words[:57] + '...'}"


async def _refuse_input(request: Request, error: Exception) -> Response:
    return _line(422, str(error))


async def _refuse_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _line(error.status_code, f"{request.method} {request.url.path}: {error.detail}")


async def _fail(request: Request, error: Exception) -> Response:
    answer = _line(500, "internal error; the server's log has it")
    answer.raw_headers += HEADERS  # Starlette answers this one outside of every middleware
    return answer
