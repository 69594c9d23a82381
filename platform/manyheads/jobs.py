"""Jobs: commands of manyheads that resume where they stopped, so that many can run anywhere and again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from manyheads.report.progress import Progress

POLL = 1.0
"""seconds between two looks at how far a job is"""
TAIL = 65536
"""bytes at the end of a world's metrics in which its newest line is"""


@dataclass(frozen=True)
class Job:
    """One command that trains one world."""

    name: str
    arguments: tuple[str, ...]
    """of `manyheads`"""
    world: Path
    """what it trains, on a file system that whoever runs it sees; its output goes to a file next to it"""
    rows: int
    """that the world has in the end"""

    @property
    def log(self) -> Path:
        """Where its output is."""
        return self.world.with_name(f"{self.world.name}.log")


def run_job(job: Job, tell: Callable[[int], None] = lambda rows: None) -> str:
    """Runs a job to its end in its own process; returns its last words where it failed, else an empty text.

    `tell` is called now and then with the rows that the world has. What ends this process in an orderly way ends the
    job with SIGTERM, upon which it saves.
    """
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", "manyheads", *job.arguments], stdout=log, stderr=log)
        try:
            while process.poll() is None:
                try:
                    process.wait(POLL)
                except subprocess.TimeoutExpired:
                    tell(rows_of(job.world))
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    tell(rows_of(job.world))
    return "" if process.returncode == 0 else _last_words(job)


def run_jobs_here(jobs: Sequence[Job], progress: Progress, settings: Any) -> dict[str, str]:
    """See `manyheads.runners.RunAll`: one at a time."""
    failed = {}
    for job in jobs:
        known = rows_of(job.world)

        def tell(rows: int) -> None:
            nonlocal known
            progress.advance(max(0, rows - known))
            known = max(rows, known)

        if words := run_job(job, tell):
            failed[job.name] = words
    return failed


def rows_of(world: Path) -> int:
    """How many rows a world has, by its checkpoint or the newest line of its metrics; 0 without any."""
    try:
        with (world / "metrics.jsonl").open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - TAIL))
            lines = file.read().split(b"\n")[:-1]
        told = int(json.loads(lines[-1])["step"]) if lines else 0
    except (OSError, ValueError, KeyError):
        told = 0
    return max(told, rows_saved(world))


def rows_saved(world: Path) -> int:
    """How many rows a world's checkpoint counts; 0 without one."""
    try:
        return int(json.loads((world / "checkpoint.json").read_bytes())["state"].get("steps", 0))
    except (OSError, ValueError, KeyError):
        return 0


def _last_words(job: Job) -> str:
    lines = [line for line in job.log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return f"{lines[-1].strip() if lines else 'no output'} ({job.log})"
