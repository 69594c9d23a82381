"""What runs on any node: environments, and a policy whose weights arrive with each request for rows."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from manyheads import ManyheadsError
from manyheads.training import (
    Collector,
    EnvSlot,
    PolicySnapshot,
    RecordedInstance,
    VectorPolicy,
    choose_vector_env,
)
from manyheads_ray.blueprint import Blueprint
from manyheads_ray.cluster import this_node, versions
from manyheads_ray.row_block import BlockSink, RowBlock
from manyheads_ray.weights import received


@dataclass(frozen=True)
class Greeting:
    """What a collector says of itself when it is ready."""

    node: str
    process: int
    versions: dict[str, str]
    instances: tuple[RecordedInstance, ...]


@dataclass(frozen=True)
class Request:
    """What is asked of a collector."""

    number: int
    """one more than the request before, unless rows in between were lost"""
    steps: int
    first_episode: int
    """from where episodes are numbered by a collector that begins"""
    stride: int


class CollectorActor:
    """Steps some of a world's environments.

    Ray restarts it where it or its node dies, and repeats the request that was under way. What it does then does not
    differ from any other beginning: every environment starts a new episode.
    """

    def __init__(self, blueprint: Blueprint, policies: Sequence[str]) -> None:
        """`policies`: the task of each of its environments."""
        torch.set_num_threads(1)
        self._settings = blueprint.folder().settings
        self._world, self._heads, tasks = blueprint.build()
        self._slots = [EnvSlot(tasks[name].instance, name, tasks[name].episode_steps) for name in policies]
        self._interface = blueprint.interface
        self._next = -1
        self._made = self._make(0, 1)

    def greet(self) -> Greeting:
        """Once the environments are there."""
        collector = self._made[0]
        layouts = zip(self._slots, collector.vector_env.layouts, strict=True)
        instances = tuple(RecordedInstance.of(slot.instance, layout) for slot, layout in layouts)
        return Greeting(this_node(), os.getpid(), versions(), instances)

    def collect(self, request: Request, snapshot: PolicySnapshot) -> RowBlock:
        """So many steps of each environment, acting with these weights."""
        began = request.number != self._next
        if began:
            if self._next >= 0:
                self._made[0].close()
            self._made = self._make(request.first_episode, request.stride)
        self._next = -2  # of no request: where this one fails halfway, the next one starts over
        collector, policy, sink = self._made
        policy.load_snapshot(received(snapshot))
        finished, failures = [], []
        for _ in range(request.steps):
            result = collector.collect(policy.act)
            finished += result.finished
            failures += result.failures
        self._next = request.number + 1
        return sink.take(snapshot.version, began, finished, failures)

    def _make(self, first_episode: int, stride: int) -> tuple[Collector, VectorPolicy, BlockSink]:
        seed, training = self._settings.seed, self._settings.training
        sink = BlockSink(first_episode, stride)
        make = choose_vector_env(training.workers, training.step_timeout)
        try:
            collector = Collector(self._slots, self._interface, sink, seed, make)
        except ManyheadsError as error:
            raise ManyheadsError(f"On node {this_node()}: {error}") from error
        noise = int(np.random.SeedSequence([seed, first_episode]).generate_state(1)[0])
        names = [slot.policy for slot in self._slots]
        policy = VectorPolicy(self._world, self._heads, names, collector.layouts, noise)
        return collector, policy, sink
