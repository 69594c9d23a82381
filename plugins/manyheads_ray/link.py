"""From processes that train to the command that waits: progress, numbers, sentences; and back: a request to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError

if TYPE_CHECKING:
    from manyheads.report.metrics import Metrics
    from manyheads.report.progress import Progress

EVERY = 0.5
"""seconds between two letters"""
Event = tuple[str, tuple[Any, ...]]


@ray.remote(num_cpus=0)
class Mailbox:
    """Keeps events until they are taken, and the request to stop."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._stop = False

    def put(self, events: list[Event]) -> bool:
        """Returns whether training is asked to stop."""
        self._events += events
        return self._stop

    def take(self) -> list[Event]:
        """The events since the last time."""
        events, self._events = self._events, []
        return events

    def stop(self) -> None:
        """Asks for the end, after the update under way and a checkpoint."""
        self._stop = True


class Sender:
    """Progress and metrics of a trainer that runs elsewhere."""

    def __init__(self, mailbox: Any) -> None:
        self._mailbox, self._lock = mailbox, threading.Lock()
        self._events: list[Event] = []
        self.on_stop: Callable[[], None] = lambda: None

    def advance(self, n: int = 1, numbers: Mapping[str, float] | None = None) -> None:
        """See `Progress`."""
        self.send("advance", n, dict(numbers or {}))

    def say(self, text: str) -> None:
        """See `Progress`."""
        self.send("say", text)

    @contextmanager
    def patience(self, text: str, seconds: float = 10.0) -> Iterator[None]:
        """See `Progress`."""
        timer = threading.Timer(seconds, self.say, [text])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def write(self, step: int, updates: int, numbers: Mapping[str, Any]) -> None:
        """See `Metrics`."""
        self.send("write", step, updates, {name: float(number) for name, number in numbers.items()})

    def send(self, name: str, *values: Any) -> None:
        """Puts an event in the next letter."""
        with self._lock:
            self._events.append((name, values))

    @contextmanager
    def open(self) -> Iterator[None]:
        """Sends letters now and then from another thread, and what is left at the end."""
        done = threading.Event()

        def post() -> None:
            while not done.wait(EVERY):
                self._post()

        thread = threading.Thread(target=post, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            self._post()

    def _post(self) -> None:
        with self._lock:
            events, self._events = self._events, []
        if ray.get(self._mailbox.put.remote(events)):
            self.on_stop()


class Receiver:
    """Carries out what a `Sender` tells, on the command's own progress and metrics."""

    def __init__(self, progress: Progress, metrics: Metrics) -> None:
        # the actor stays with the process that made it, whichever learners come and go
        here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )
        self.mailbox = Mailbox.options(scheduling_strategy=here).remote()  # type: ignore[attr-defined]
        self.progress, self.metrics = progress, metrics
        self.begun = 0
        """how often learners have begun"""
        self.asked_to_stop = False
        self.outcome: BaseException | str | None = None
        """how training ended, as the rank that writes says; None: it has not said"""
        self.handlers: dict[str, Callable[..., None]] = {
            "advance": progress.advance,
            "say": progress.say,
            "write": metrics.write,
            "begin": self._begin,
            "end": self._end,
        }
        """what is done about each kind of event"""

    def stop(self) -> None:
        """Asks for the end."""
        self.asked_to_stop = True
        self.mailbox.stop.remote()

    def receive(self) -> None:
        """Carries out what has come."""
        try:
            events: list[Event] = ray.get(self.mailbox.take.remote())
        except RayError:
            return
        for name, values in events:
            self.handlers[name](*values)

    def _end(self, outcome: BaseException | str) -> None:
        self.outcome = outcome

    def _begin(self, ranks: int, steps: int, updates: int) -> None:
        self.begun += 1
        self.progress.done = steps
        self.progress.advance(0, {"learners": float(ranks)})
        if self.begun > 1:
            self.progress.say(
                f"A learner was lost. All {ranks} resume from the last checkpoint: {steps:,} steps, "
                f"{updates:,} updates."
            )
