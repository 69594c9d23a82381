"""Collectors on the nodes of a cluster: rows come in while learning continues, by weights of bounded age."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError, RayTaskError
from torch import Tensor

from manyheads import ManyheadsError
from manyheads.training import CollectorContext, CollectorState, CollectResult, EnvState, RecordedInstance
from manyheads_ray import RaySettings
from manyheads_ray.blueprint import Blueprint
from manyheads_ray.cluster import cores, in_words, require_same_versions, versions
from manyheads_ray.collector_actor import CollectorActor, Greeting, Request
from manyheads_ray.lag import Lag, chunk_steps
from manyheads_ray.row_block import RowBlock
from manyheads_ray.weights import Weights

AHEAD = 2
"""requests to a collector at a time, so that it steps while the rows before are stored and learned from"""
TRIES = 8
"""episodes, at most, that one environment begins within a step: some fail as they begin"""
POLL = 1.0
"""seconds that `collect` waits for rows"""


@dataclass
class Sent:
    """A request under way."""

    reference: Any
    version: int
    rows: int
    at: float = field(default_factory=time.monotonic)


@dataclass
class Member:
    """One collector, as seen from here."""

    number: int
    envs: list[int]
    actor: Any
    streams: list[int] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    requests: int = 0
    stored: bool = False
    """whether any rows of it have been"""

    def streams_of_envs(self) -> Iterator[tuple[int, int]]:
        """Each environment's number and stream."""
        return zip(self.envs, self.streams, strict=True)


class RayCollectors:
    """The environments of a run in actors. Ray restarts an actor that dies, on another node if need be, and repeats its
    request: the open episodes of its environments end, truncated, and every row that was stored stays.

    At most `max_lag` updates are made between the weights that acted and the moment when their rows are stored:
    learning waits for rows that would come later. Rows of a collector that then does not come for `patience` seconds
    are given up.
    """

    def __init__(self, context: CollectorContext, settings: RaySettings, say: Callable[[str], None] = print) -> None:
        training, tasks = context.folder.settings.training, list(context.tasks)
        if settings.collectors > len(tasks):
            raise ManyheadsError(
                f"ray.collectors={settings.collectors} share {len(tasks)} environments (training.num_envs): "
                "set fewer collectors, or begin a world with more environments."
            )
        self.context, self.settings, self.replay = context, settings, context.replay
        self.lag, self.restarts, self._say = Lag(), 0, say
        self._weights = Weights(context.world, context.heads)
        self._steps = chunk_steps(settings, training, AHEAD)
        actor = ray.remote(max_restarts=-1, max_task_retries=-1, num_cpus=settings.collector_cpus)(CollectorActor)
        blueprint = Blueprint.of(context.folder, tasks)
        self.members = []
        for number in range(settings.collectors):
            envs = list(range(number, len(tasks), settings.collectors))
            made = actor.options(scheduling_strategy="SPREAD").remote(blueprint, [tasks[env].name for env in envs])
            self.members.append(Member(number, envs, made))
        self._open_streams(self._greetings())
        self._first_episode = self.replay.new_episode()

    def due(self, updates: int) -> bool:
        return any(self._is_due(sent, updates) for member in self.members for sent in member.sent)

    def collect(self, updates: int, limit: int) -> CollectResult:
        self._request(updates, limit)
        waiting = sorted((member for member in self.members if member.sent), key=lambda member: member.sent[0].version)
        if late := [member for member in waiting if self._is_due(member.sent[0], updates)]:
            waiting = late
        if not waiting:
            return CollectResult(0, 0, [])
        references = [member.sent[0].reference for member in waiting]
        ready, _ = ray.wait(references, num_returns=1, timeout=POLL)
        if not ready:
            return CollectResult(0, 0, [], [*self._give_up(late)])
        return self._store(waiting[references.index(ready[0])], updates)

    def state(self) -> dict[str, Any]:
        """Every environment is between two episodes: an open one is not continued."""
        streams = {env: stream for member in self.members for env, stream in member.streams_of_envs()}
        envs = [
            EnvState(
                instance=self.replay.instance(streams[env]).key,
                stream=streams[env],
                rows=self.replay.stop(streams[env]) or 0,
                episode=self.replay.new_episode(),
                index=0,
            )
            for env in sorted(streams)
            if self.replay.stop(streams[env]) is not None
        ]
        return CollectorState(envs=envs).model_dump()

    def tensors(self) -> Mapping[str, Tensor]:
        return {}

    def close(self) -> None:
        for member in self.members:
            ray.kill(member.actor)
            for stream in member.streams:
                self.replay.end_episode(stream)
        self._say(f"{self.lag} The bound is {self.settings.max_lag}.")

    def _request(self, updates: int, limit: int) -> None:
        """Asks for as many rows as are still wanted, collectors in turn."""
        wanted = limit - sum(sent.rows for member in self.members for sent in member.sent)
        for _ in range(AHEAD):
            for member in sorted(self.members, key=lambda member: len(member.sent)):
                if wanted <= 0 or len(member.sent) == AHEAD:
                    continue
                steps = min(self._steps, -(-wanted // len(member.envs)))
                stride = len(self.members)
                first = self._first_episode + member.number
                first += stride * member.requests * self._steps * len(member.envs) * TRIES
                request = Request(member.requests, steps, first, stride)
                member.requests += 1
                rows = steps * len(member.envs)
                reference = member.actor.collect.remote(request, self._weights.at(updates))
                member.sent.append(Sent(reference, updates, rows))
                wanted -= rows

    def _store(self, member: Member, updates: int) -> CollectResult:
        sent = member.sent.pop(0)
        try:
            block: RowBlock = ray.get(sent.reference)
        except RayTaskError as error:
            raise in_words(error, "collected rows") from error
        except RayError as error:
            said = in_words(error, "collected rows")
            if isinstance(said, ManyheadsError):
                raise said from error
            self._drop(member)
            return CollectResult(
                0, 0, [], [f"Collector {member.number} lost rows on their way: {str(error).splitlines()[0]}"]
            )
        failures = list(block.failures)
        if block.began and member.stored:
            self.restarts += 1
            failures.append(f"Collector {member.number} restarted: its open episodes ended, truncated.")
        member.stored = True
        rows = block.store(self.replay, member.streams)
        self.lag.count(updates - block.version)
        finished = [
            replace(each, env=member.envs[each.env], stream=member.streams[each.env]) for each in block.finished
        ]
        numbers = {**self.lag.numbers(), "collectors/restarts": float(self.restarts)}
        return CollectResult(rows, rows - len(finished), finished, failures, numbers)

    def _give_up(self, late: list[Member]) -> list[str]:
        """Drops requests that learning has waited for too long; what they bring later is not taken."""
        said = []
        for member in late:
            if time.monotonic() - member.sent[0].at > self.settings.patience:
                for sent in member.sent:
                    ray.cancel(sent.reference)
                self._drop(member)
                said.append(
                    f"Collector {member.number} gave no rows for {self.settings.patience:g} s: they are given up, and "
                    "learning continues. It restarts where the cluster has room for it."
                )
        return said

    def _drop(self, member: Member) -> None:
        """Nothing that was asked for is taken; a number that is left out makes the collector restart."""
        member.sent.clear()
        member.requests += 1

    def _is_due(self, sent: Sent, updates: int) -> bool:
        return updates + 1 - sent.version > self.settings.max_lag

    def _greetings(self) -> list[Greeting]:
        """Waits until every collector is there."""
        references = [member.actor.greet.remote() for member in self.members]
        try:
            ready, missing = ray.wait(references, num_returns=len(references), timeout=self.settings.startup)
            if missing:
                every, free = cores()
                raise ManyheadsError(
                    f"{len(ready)} of {len(references)} collectors could be started in {self.settings.startup:g} s: "
                    f"the cluster has {every:g} cores, {free:g} of them free, and each collector takes "
                    f"{self.settings.collector_cpus:g}. Set fewer (ray.collectors), smaller ones "
                    "(ray.collector_cpus=0.5), or a longer ray.startup."
                )
            greetings: list[Greeting] = ray.get(references)
        except (RayTaskError, GetTimeoutError) as error:
            raise in_words(error, "collectors") from error
        except RayError as error:
            cause = getattr(error, "cause", None)
            raise (cause if isinstance(cause, ManyheadsError) else in_words(error, "collectors")) from error
        for greeting in greetings:
            require_same_versions(greeting.node, greeting.versions, versions())
        return greetings

    def _open_streams(self, greetings: list[Greeting]) -> None:
        """A stream for each environment, in their order: those that the run before wrote to, where they still fit."""
        instances = {
            env: instance
            for member, greeting in zip(self.members, greetings, strict=True)
            for env, instance in zip(member.envs, greeting.instances, strict=True)
        }
        saved = CollectorState.model_validate(self.context.saved).envs if self.context.saved else []
        before = dict(enumerate(saved))
        streams = {env: self._stream(instances[env], before.get(env)) for env in sorted(instances)}
        for member in self.members:
            member.streams = [streams[env] for env in member.envs]

    def _stream(self, instance: RecordedInstance, saved: EnvState | None) -> int:
        if saved is None or self.replay.stop(saved.stream) is None or self.replay.instance(saved.stream) != instance:
            return self.replay.open_stream(instance)
        self.replay.end_episode(saved.stream)
        return saved.stream
