"""The page's server: what it answers, and how it ends."""

from __future__ import annotations

import io
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import click
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from manyheads import ManyheadsError
from manyheads.report.experience import find_episode, open_replay, recorded, recorded_episode
from manyheads_web import facts, requests
from manyheads_web.curves import Curves
from manyheads_web.drafts import Drafts
from manyheads_web.folder import Shown
from manyheads_web.guard import Guard
from manyheads_web.jobs import Jobs
from manyheads_web.live import Feed, stream
from manyheads_web.problems import Gone, Refused
from manyheads_web.said import Said
from manyheads_web.work import Work

STATIC = Path(str(files("manyheads_web"))) / "static"
NEWEST_EPISODES = 40


class Page:
    """Answers requests about one folder."""

    def __init__(self, folder: Path) -> None:
        self.shown = Shown(folder)
        self.jobs, self.curves, self.drafts = Jobs(self.shown.root), Curves(), Drafts()
        self.work = Work(self.shown, self.jobs, self.drafts)
        self.said = Said(self.shown.root)
        self.ending = False

    def routes(self) -> list[Route | Mount]:
        """Every address that is answered."""
        asked: dict[str, Callable[[Request], Any]] = {
            "worlds": lambda request: [facts.card(self.shown, name) for name in self.shown.worlds()],
            "world": lambda request: facts.world(self.shown, _one(request, "world")),
            "show": lambda request: self.said.show(self.shown.path(_one(request, "world"))),
            "curves": self.owner_curves,
            "replay": lambda request: recorded(self.shown.open(_one(request, "world")), NEWEST_EPISODES),
            "episode": lambda request: recorded_episode(
                self.shown.open(_one(request, "world")), _number(request, "episode")
            ),
            "draft": self.draft,
            "jobs": lambda request: [job.record() for job in self.jobs.newest()],
        }
        sent: dict[str, tuple[type[requests.Sent], Callable[[Any], Any]]] = {
            "goal": (requests.Goal, lambda body: self.work.read_goal(body).record()),
            "judge": (requests.Judge, lambda body: self.drafts[body.draft].judged(body.values)),
            "train": (requests.Train, lambda body: self.work.train(body).record()),
            "run": (requests.Run, lambda body: self.work.run(body).record()),
            "stop": (requests.Stop, lambda body: self.jobs.stop(body.job).record()),
        }
        return [
            Route("/", self.index),
            Route("/api/events", self.events),
            Route("/api/frame", self.frame),
            Route("/api/video", self.video),
            *(Route(f"/api/{name}", _getting(answer)) for name, answer in asked.items()),
            *(Route(f"/api/{name}", _posting(*both), methods=["POST"]) for name, both in sent.items()),
            Route("/api/{rest:path}", _nothing, methods=["GET", "POST"]),
            Mount("/static", StaticFiles(directory=STATIC)),
        ]

    async def index(self, request: Request) -> Response:
        return FileResponse(STATIC / "index.html")

    async def events(self, request: Request) -> Response:
        feed = Feed(self.shown, self.jobs, self.curves, request.query_params.get("world"))
        return stream(feed, request.is_disconnected, lambda: self.ending)

    def owner_curves(self, request: Request) -> Any:
        """All numbers of one head, or of the world model."""
        return self.curves.read(self.shown.path(_one(request, "world")), _one(request, "owner"))

    def draft(self, request: Request) -> Any:
        """A draft, by its number, or the newest of a world; none where nothing was asked there."""
        if "draft" in request.query_params:
            return self.drafts[_number(request, "draft")].facts()
        newest = self.drafts.newest(_one(request, "world"))
        return None if newest is None else newest.facts()

    async def video(self, request: Request) -> Response:
        """A head's film; parts of it are answered as the browser asks for them."""

        def find() -> Path:
            folder = self.shown.open(_one(request, "world"))
            path = self.shown.inside(str(facts.video(folder, _one(request, "head")).relative_to(self.shown.root)))
            if not path.is_file():
                raise Gone("This head has not been filmed yet.")
            return path

        return FileResponse(await run_in_threadpool(find), media_type="video/mp4")

    async def frame(self, request: Request) -> Response:
        """The picture that was observed in one row of a recorded episode, as PNG."""

        def draw() -> bytes:
            replay = open_replay(self.shown.open(_one(request, "world")))
            try:
                images = find_episode(replay, _number(request, "episode")).image
            finally:
                replay.close()
            row = _number(request, "row")
            if images is None or row >= len(images):
                raise Gone("No picture was recorded there.")
            return _png(images[row])

        return Response(await run_in_threadpool(draw), media_type="image/png")


def application(folder: Path, token: str, say: Callable[[str], None] = click.echo) -> Starlette:
    """The application that answers for a folder to whoever has the token."""
    page = Page(folder)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(page.jobs.close, say)
        page.drafts.close()

    app = Starlette(
        routes=page.routes(),
        middleware=[Middleware(Guard, token=token)],
        exception_handlers={ManyheadsError: _problem, OSError: _problem},
        lifespan=lifespan,
    )
    app.state.page = page
    return app


def serve(folder: Path, token: str, listening: socket.socket) -> None:
    """Answers on a socket until Ctrl-C or SIGTERM."""
    app = application(folder, token)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=2, server_header=False
    )
    server = _Server(config, lambda: setattr(app.state.page, "ending", True))
    server.run(sockets=[listening])


class _Server(uvicorn.Server):
    """Says that it ends as soon as it was asked to, so that open event streams end, too."""

    def __init__(self, config: uvicorn.Config, end: Callable[[], None]) -> None:
        super().__init__(config)
        self._end = end

    def handle_exit(self, sig: int, frame: Any) -> None:
        self._end()
        super().handle_exit(sig, frame)


def _getting(answer: Callable[[Request], Any]) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        return _json(await run_in_threadpool(answer, request))

    return endpoint


def _posting(model: type[requests.Sent], answer: Callable[[Any], Any]) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        body = requests.read(model, await request.body())
        return _json(await run_in_threadpool(answer, body))

    return endpoint


async def _nothing(request: Request) -> Response:
    raise Gone(f"Nothing is at {request.url.path}.")


async def _problem(request: Request, error: Exception) -> Response:
    """A mistake that a person can act on, as JSON."""
    status = error.status if isinstance(error, Refused) else 400
    return JSONResponse({"error": str(error)}, status)


def _json(value: Any) -> Response:
    return Response(json.dumps(value, allow_nan=False), media_type="application/json")


def _one(request: Request, name: str) -> str:
    value = request.query_params.get(name)
    if not value:
        raise Refused(f"Say which {name}: `?{name}=…`.")
    return value


def _number(request: Request, name: str) -> int:
    value = _one(request, name)
    if not value.isdecimal() or len(value) > 12:
        raise Refused(f"{name} is a number, not {value!r}.")
    return int(value)


def _png(image: Any) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    shown = image[..., 0] if image.shape[-1] == 1 else image[..., -3:]
    Image.fromarray(shown).save(buffer, "PNG")
    return buffer.getvalue()
