"""What `manyheads show --json` says of a world: asked for in its own process, since it makes simulators."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from manyheads import ManyheadsError
from manyheads_web.facts import signature
from manyheads_web.jobs import error_of

PATIENCE = 120.0
"""seconds"""
MOST_WORLDS = 64


class Said:
    """Answers of `manyheads show`, each kept until its world changes. Thread-safe; one command runs at a time."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock = threading.Lock()
        self._known: dict[Path, tuple[Any, Any]] = {}

    def show(self, world: Path) -> Any:
        """Facts of `manyheads show`; raises ManyheadsError in that command's words."""
        with self._lock:
            stamp = signature(world)
            if world in self._known and self._known[world][0] == stamp:
                return self._known[world][1]
            name = world.relative_to(self.root).as_posix()
            facts = self._ask("show", "--json", "--", name)
            self._known[world] = stamp, facts
            for old in list(self._known)[:-MOST_WORLDS]:
                del self._known[old]
            return facts

    def _ask(self, *arguments: str) -> Any:
        command = [sys.executable, "-m", "manyheads", *arguments]
        try:
            ended = subprocess.run(
                command, cwd=self.root, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE
            )
        except subprocess.TimeoutExpired:
            raise ManyheadsError(f"`manyheads {arguments[0]}` gave no answer in {PATIENCE:.0f} s.") from None
        if ended.returncode:
            raise ManyheadsError(error_of(ended.stderr, ended.returncode))
        return json.loads(ended.stdout)
