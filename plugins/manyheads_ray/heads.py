"""Heads of a frozen world in parts, each a Ray task on any node that sees the world's folder; the command writes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import ray
from ray import cloudpickle
from ray.exceptions import RayError, TaskCancelledError

from manyheads import ManyheadsError, Task
from manyheads.storage.world_folder import WORLD, WorldFolder
from manyheads.training import RunSave, StopRequest, Trainer
from manyheads_ray import RaySettings
from manyheads_ray.blueprint import Blueprint
from manyheads_ray.cluster import connected, cores, in_words, require_same_versions, this_node, versions
from manyheads_ray.link import Receiver, Sender

if TYPE_CHECKING:
    from manyheads.report.metrics import Metrics
    from manyheads.report.progress import Progress

POLL = 0.3
"""seconds between two looks at what has come"""


class Terminated(Exception):
    """A process that trains a part was told to end, by who ends its node: Ray starts the part again."""


@dataclass(frozen=True)
class Part:
    """What one process trains."""

    number: int
    path: str
    """of the world's folder"""
    world: bytes
    """`world.yaml`, by which the folder is known"""
    generation: int
    """of its checkpoint, or a later one"""
    blueprint: Blueprint
    updates: int
    versions: dict[str, str]
    mailbox: Any

    @property
    def names(self) -> str:
        """Its heads."""
        return ", ".join(name for name, _ in self.blueprint.tasks)

    def open(self) -> WorldFolder:
        """The world's folder here; raises ManyheadsError where it is another than the command's."""
        path = Path(self.path)
        if (path / WORLD).exists() and (path / WORLD).read_bytes() == self.world:
            folder = self.blueprint.folder(path)
            if folder.checkpoint.generation >= self.generation:
                return folder
        raise ManyheadsError(
            f"Node {this_node()} does not see the world's folder {path} as it is where the command runs: put it on a "
            "file system that all nodes share."
        )


class PartSender(Sender):
    """Tells how a part gets on; its progress counts the updates of its run."""

    def __init__(self, part: Part) -> None:
        super().__init__(part.mailbox)
        self._part, self._updates = part, 0
        self.stopped = False

    def begin(self, trainer: Trainer) -> None:
        """Tells from where on it trains, and lets a request to stop reach it."""
        self._updates = trainer.updates
        self.send("begin", self._part.number, self._updates)

        def stop() -> None:
            self.stopped = trainer.stop.requested = True

        self.on_stop = stop

    def advance(self, n: int = 1, numbers: Any = None) -> None:
        self._updates += n
        self.send("reached", self._part.number, self._updates)

    def say(self, text: str) -> None:
        super().say(f"{self._part.names}: {text}")

    def keep(self, save: RunSave) -> None:
        """Sends a save, packed here: what passes it on needs no torch."""
        self.send("save", cloudpickle.dumps(save))


class PartReceiver(Receiver):
    """Carries out what parts tell, and writes what they have learned."""

    def __init__(self, folder: WorldFolder, progress: Progress, metrics: Metrics) -> None:
        super().__init__(progress, metrics)
        self._folder, self.parts = folder, list[Part]()
        self.reached: dict[int, int] = {}
        """updates of each part that has begun"""
        self.handlers |= {"begin": self._begin_part, "reached": self._reach, "save": self._save}

    def _begin_part(self, number: int, updates: int) -> None:
        if number in self.reached:
            self.progress.say(f"A process was lost: {self.parts[number].names} resume at {updates:,} updates.")
            self._reach(number, updates)
        self.reached[number] = updates

    def _reach(self, number: int, updates: int) -> None:
        more = updates - self.reached[number]
        self.reached[number] = updates
        self.progress.advance(more * len(self.parts[number].blueprint.tasks))

    def _save(self, packed: bytes) -> None:
        save: RunSave = cloudpickle.loads(packed)
        save.write(self._folder.checkpoint)


def train_heads(
    folder: WorldFolder,
    groups: Sequence[Sequence[Task]],
    updates: int,
    progress: Progress,
    metrics: Metrics,
    settings: RaySettings,
) -> None:
    """See `manyheads.runners.TrainHeads`."""
    heads = sum(map(len, groups))
    if settings.parts and settings.parts > heads:
        progress.say(f"ray.parts={settings.parts} is more than there are heads to train: {heads}, in as many parts.")
    with connected(settings.address):
        gpus = folder.settings.training.device == "cuda"
        room = _room(settings, gpus)
        count = min(settings.parts or room, heads)
        every, free = cores()
        if free < settings.learner_cpus:
            progress.say(
                f"Parts of {settings.learner_cpus:g} cores wait for room: other work has all but {free:g} of the "
                f"cluster's {every:g}."
            )
        receiver = PartReceiver(folder, progress, metrics)
        receiver.parts = [
            Part(
                number,
                str(folder.path.resolve()),
                (folder.path / WORLD).read_bytes(),
                folder.checkpoint.generation,
                Blueprint.of(folder, tasks),
                updates,
                versions(),
                receiver.mailbox,
            )
            for number, tasks in enumerate(divided(groups, count))
        ]
        start = ray.remote(train_part).options(
            num_cpus=settings.learner_cpus,
            num_gpus=int(gpus),
            max_retries=-1,
            retry_exceptions=[Terminated],
            scheduling_strategy="SPREAD",
        )
        _follow({part.number: start.remote(part) for part in receiver.parts}, receiver)


def divided(groups: Sequence[Sequence[Task]], count: int) -> list[list[Task]]:
    """The heads in so many parts, each of one group, and as even as they go; at least one for each group."""
    shares = [1] * len(groups)
    while sum(shares) < min(count, sum(map(len, groups))):
        largest = max(range(len(groups)), key=lambda i: len(groups[i]) / shares[i])
        shares[largest] += 1
    return [[*group[i::share]] for group, share in zip(groups, shares, strict=True) for i in range(share)]


def _room(settings: RaySettings, gpus: bool) -> int:
    """How many parts the cluster can train at a time; raises ManyheadsError where it can train none."""
    every = ray.nodes()
    nodes = [node["Resources"] for node in every if node["Alive"]]
    if gpus:
        if not (found := sum(int(node.get("GPU", 0)) for node in nodes)):
            raise ManyheadsError("training.device=cuda: no node of the cluster has a GPU. Set training.device=cpu.")
        return found
    found = sum(int(node.get("CPU", 0) // settings.learner_cpus) for node in nodes)
    if not found:
        most = max(node.get("CPU", 0) for node in nodes)
        raise ManyheadsError(
            f"Each part takes {settings.learner_cpus:g} cores, and no node of the cluster has more than {most:g}: set "
            "a smaller ray.learner_cpus."
        )
    return found


def _follow(references: dict[int, Any], receiver: PartReceiver) -> None:
    """Waits for all parts. Where one fails, or the command is to stop, the others save what they have, and end."""
    waiting, failure = dict(references), None
    with StopRequest() as stop:
        while waiting:
            ready, _ = ray.wait([*waiting.values()], timeout=POLL)
            receiver.receive()
            for number, reference in [*waiting.items()]:
                if reference in ready:
                    del waiting[number]
                    try:
                        ray.get(reference)
                    except TaskCancelledError:
                        continue
                    except RayError as error:
                        failure = failure or in_words(error, "heads")
            if (stop.requested or failure) and not receiver.asked_to_stop:
                receiver.stop()
                for number in waiting.keys() - receiver.reached.keys():
                    ray.cancel(waiting[number])
    receiver.receive()
    if failure is not None:
        raise failure
    if stop.requested:
        raise KeyboardInterrupt


def train_part(part: Part) -> None:
    """What each process runs."""
    require_same_versions(this_node(), versions(), part.versions)
    folder, tasks = part.open(), [*part.blueprint.open_tasks().values()]
    sender = PartSender(part)
    with sender.open(), closing(Trainer(folder, tasks, frozen=True, send=sender.keep)) as trainer:
        sender.begin(trainer)
        try:
            trainer.imagine(part.updates, cast("Progress", sender), cast("Metrics", sender))
        except KeyboardInterrupt:
            if not sender.stopped:
                raise Terminated from None
