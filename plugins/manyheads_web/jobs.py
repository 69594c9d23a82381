"""Commands of manyheads that the page started: how far they are, what they say, and how they are stopped.

A command writes into files, not pipes: should the page end without warning, training continues and is saved.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Literal

from manyheads import ManyheadsError
from manyheads_web.problems import Busy, Gone

UNSEEN = 3
"""exit code of `manyheads goal` and `demo` where a world has hardly seen what is asked for"""
LOOK_EVERY = 0.2
MOST_LINES = 200
MOST_RUNNING = 4
MOST_KEPT = 40
PATIENCE = 120.0
"""seconds that commands may take to save when the page ends"""

State = Literal["running", "stopping", "done", "stopped", "failed"]
STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGKILL)
"""one after the other: save and end, end without saving, end"""


@dataclass(frozen=True)
class Command:
    """One command: what it does in a few words, and its arguments after `manyheads`."""

    title: str
    arguments: Sequence[str]

    @property
    def line(self) -> str:
        """As a person would type it."""
        return shlex.join(["manyheads", *self.arguments])


@dataclass
class Job:
    """Commands one after the other, of which the first that fails ends it."""

    id: int
    world: str
    kind: str
    title: str
    commands: Sequence[Command]
    writes: bool
    """whether it needs the world for itself"""
    about: dict[str, Any] = field(default_factory=dict)
    """what else the page knows of it: head, draft"""
    at: int = 0
    state: State = "running"
    code: int | None = None
    progress: dict[str, Any] | None = None
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=MOST_LINES))
    result: str = ""
    """what the last command printed"""
    error: str = ""
    began: float = field(default_factory=time.time)
    ended: float | None = None
    changes: int = 0
    """grows with whatever changes here"""
    stops: int = 0
    process: subprocess.Popen[bytes] | None = None

    def record(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "id": self.id,
            "world": self.world,
            "kind": self.kind,
            "title": self.title,
            "state": self.state,
            "commands": [{"title": each.title, "line": each.line} for each in self.commands],
            "at": self.at,
            "progress": self.progress,
            "lines": list(self.lines)[-30:],
            "error": self.error,
            "seconds": round((self.ended or time.time()) - self.began),
            "stops": self.stops,
            "code": self.code,
            **self.about,
        }


class Jobs:
    """All that the page started, newest last. Thread-safe; commands run in `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._jobs: dict[int, Job] = {}
        self._threads: list[threading.Thread] = []
        self._numbers = count(1)
        self._lock = threading.RLock()
        self._closed = False

    def start(
        self,
        world: str,
        kind: str,
        title: str,
        commands: Sequence[Command],
        writes: bool = False,
        about: dict[str, Any] | None = None,
        finish: Callable[[Job], None] = lambda job: None,
    ) -> Job:
        """Starts commands on a world; `finish` gets the job when all went well, and may raise ManyheadsError.

        Raises Busy where another job writes to that world, or enough is running.
        """
        with self._lock:
            running = [job for job in self._jobs.values() if job.ended is None]
            if self._closed:
                raise Busy("This page is ending.")
            if writes:
                self.require_free(world)
            if len(running) >= MOST_RUNNING:
                raise Busy(f"{len(running)} commands are running already. Wait for one of them, or stop one.")
            job = Job(next(self._numbers), world, kind, title, commands, writes, dict(about or {}))
            self._jobs[job.id] = job
            for old in [one for one in self._jobs.values() if one.ended is not None][:-MOST_KEPT]:
                del self._jobs[old.id]
            thread = threading.Thread(target=self._run, args=(job, finish), name=f"job {job.id}", daemon=True)
            self._threads = [one for one in self._threads if one.is_alive()] + [thread]
            thread.start()
        return job

    def stop(self, number: int) -> Job:
        """Asks a job to save and end; asked again, it ends without saving."""
        with self._lock:
            job = self._jobs.get(number)
            if job is None:
                raise Gone(f"There is no job {number}: this page was restarted. `manyheads` commands are not lost.")
            if job.ended is None:
                self._signal(job)
            return job

    def newest(self) -> list[Job]:
        """All that are known."""
        with self._lock:
            return list(self._jobs.values())

    def require_free(self, world: str) -> None:
        """Raises Busy where a job writes to that world."""
        for job in self.newest():
            if job.ended is None and job.writes and job.world == world:
                raise Busy(f"“{job.title}” is at work on this world. Wait for its end, or stop it first.")

    def version(self) -> int:
        """Grows with whatever changes."""
        with self._lock:
            return sum(job.changes for job in self._jobs.values()) + sum(self._jobs)

    def close(self, say: Callable[[str], None] = lambda text: None) -> None:
        """Stops what runs, and waits until it is saved."""
        with self._lock:
            self._closed = True
            running = [job for job in self._jobs.values() if job.ended is None]
            for job in running:
                say(f"Stopping and saving: {job.title}.")
                self._signal(job)
        until = time.monotonic() + PATIENCE
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _signal(self, job: Job) -> None:
        number = STOPS[min(job.stops, len(STOPS) - 1)]
        job.stops += 1
        job.state = "stopping"
        job.changes += 1
        if job.process is not None:
            with suppress(ProcessLookupError):
                job.process.send_signal(number)

    def _run(self, job: Job, finish: Callable[[Job], None]) -> None:
        try:
            for at, command in enumerate(job.commands):
                with self._lock:
                    job.at, job.progress = at, None
                    job.changes += 1
                self._run_one(job, command)
                if job.code not in (0, UNSEEN) or job.stops:
                    break
            else:
                finish(job)
            state: State = "stopped" if job.stops else "done" if job.code in (0, UNSEEN) else "failed"
        except (ManyheadsError, OSError) as error:
            job.error, state = str(error), "failed"
        with self._lock:
            job.state, job.ended = state, time.time()
            job.changes += 1

    def _run_one(self, job: Job, command: Command) -> None:
        environment = {**os.environ, "MANYHEADS_PROGRESS": "json", "PYTHONUNBUFFERED": "1"}
        with tempfile.TemporaryDirectory(prefix="manyheads-web-") as folder:
            out, err = Path(folder, "out"), Path(folder, "err")
            with out.open("wb") as to_out, err.open("wb") as to_err, self._lock:
                if job.stops:
                    return
                job.process = subprocess.Popen(
                    [sys.executable, "-m", "manyheads", *command.arguments],
                    cwd=self.root,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=to_out,
                    stderr=to_err,
                    start_new_session=True,
                )
            said: list[str] = []
            with err.open(encoding="utf-8", errors="replace", newline="\n") as reading:
                ended = False
                while not ended:
                    ended = job.process.poll() is not None
                    self._listen(job, reading.read(), said, ended)
                    if not ended:
                        time.sleep(LOOK_EVERY)
            job.code, job.process = job.process.returncode, None
            job.result = out.read_text(encoding="utf-8", errors="replace")
            if job.code not in (0, UNSEEN) and not job.stops:
                job.error = error_of("".join(said), job.code)

    def _listen(self, job: Job, added: str, said: list[str], ended: bool) -> None:
        """Takes what a command wrote: progress, or lines for a person. A line without its end waits as the last one."""
        if not added:
            return
        text = (said.pop() if said and not said[-1].endswith("\n") else "") + added
        with self._lock:
            for line in text.splitlines(keepends=True):
                whole = line.endswith("\n") or ended
                progress = _progress(line) if whole else None
                if progress is not None:
                    job.progress = progress
                    continue
                said.append(line)
                if whole and line.strip():
                    job.lines.append(line.rstrip())
            job.changes += 1


def _progress(line: str) -> dict[str, Any] | None:
    if not line.startswith('{"progress"'):
        return None
    with suppress(ValueError):
        record = json.loads(line)
        if isinstance(record, dict):
            return record
    return None


def error_of(said: str, code: int) -> str:
    """What a command that failed said last: its error message, else its last lines."""
    _, found, message = said.rpartition("Error: ")
    if found:
        return message.strip()
    last = [line for line in said.splitlines() if line.strip()][-3:]
    return "\n".join(last) or f"The command ended with exit code {code} and said nothing."
