"""Server-sent events: what changes in the folder and in the page's jobs, to every page that is open."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from manyheads import ManyheadsError
from manyheads_web import facts
from manyheads_web.curves import Curves
from manyheads_web.folder import Shown
from manyheads_web.jobs import Jobs
from manyheads_web.problems import Gone

LOOK_EVERY = 0.7
LIST_EVERY = 3
"""looks at the list of worlds, one in so many"""
ALIVE_EVERY = 20
"""a comment, one look in so many, by which a closed connection is noticed"""
TRANSIENT = 4
"""looks in a row that a world can't be read before it is said: what writes to it may be in between two files"""


class Feed:
    """The events of one open page, which looks at one world or at the list."""

    def __init__(self, shown: Shown, jobs: Jobs, curves: Curves, world: str | None) -> None:
        self.shown, self.jobs, self.curves, self.world = shown, jobs, curves, world
        self._known: dict[str, Any] = {}
        self._looks = 0
        self._failed = 0

    def look(self) -> list[tuple[str, Any]]:
        """What is new since the last look: names of events, and their data."""
        events: list[tuple[str, Any]] = []
        if self._is_new("jobs", self.jobs.version()):
            events.append(("jobs", [job.record() for job in self.jobs.newest()]))
        if self.world is None:
            if self._looks % LIST_EVERY == 0:
                events += self._list()
        else:
            events += self._world(self.world)
        self._looks += 1
        return events

    def _list(self) -> list[tuple[str, Any]]:
        cards = []
        for name, path in self.shown.worlds().items():
            stamp = (facts.signature(path), facts.is_fresh(path))
            if self._is_new(f"card {name}", stamp):
                self._known[f"made {name}"] = facts.card(self.shown, name)
            cards.append(self._known[f"made {name}"])
        return [("worlds", cards)] if self._is_new("worlds", json.dumps(cards)) else []

    def _world(self, name: str) -> list[tuple[str, Any]]:
        try:
            path = self.shown.path(name)
            events: list[tuple[str, Any]] = []
            found = self.curves.read(path)
            if self._is_new("curves", found["length"]):
                events.append(("curves", found))
            stamp = (facts.signature(path), facts.is_fresh(path))
            if stamp != self._known.get("world"):
                events.append(("world", facts.world(self.shown, name)))
                self._known["world"] = stamp
        except Gone as error:
            return [("gone", str(error))] if self._is_new("gone", True) else []
        except (ManyheadsError, OSError) as error:
            self._failed += 1
            return (
                [("trouble", str(error))] if self._failed >= TRANSIENT and self._is_new("trouble", str(error)) else []
            )
        if self._failed >= TRANSIENT:
            events.append(("trouble", ""))
        self._failed = 0
        self._known.pop("trouble", None)
        if self._known.pop("gone", False):
            events.append(("gone", ""))
        return events

    def _is_new(self, what: str, value: Any) -> bool:
        old = what in self._known and self._known[what] == value
        self._known[what] = value
        return not old


def stream(feed: Feed, is_gone: Callable[[], Awaitable[bool]], is_ending: Callable[[], bool]) -> StreamingResponse:
    """The feed's events until the page is closed or the server ends."""

    async def events() -> AsyncIterator[str]:
        yield "retry: 1500\n\n"
        looks = 0
        while not is_ending() and not await is_gone():
            for name, data in await run_in_threadpool(feed.look):
                yield f"event: {name}\ndata: {json.dumps(data, allow_nan=False)}\n\n"
            looks += 1
            if looks % ALIVE_EVERY == 0:
                yield ": alive\n\n"
            await asyncio.sleep(LOOK_EVERY)

    return StreamingResponse(events(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
