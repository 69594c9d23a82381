"""The loop: collect rows in lock-step, learn from replay, keep everything safe.

One loop, three uses: a world and its heads jointly, a head on a frozen world with new experience, and a head in
imagination alone (no environment at all).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from manyheads.errors import ManyheadsError
from manyheads.execution.toolchain import is_compiler_error
from manyheads.execution.trees import map_tensors
from manyheads.experience.batch import WindowIndex
from manyheads.experience.collector import Collector, FinishedEpisode
from manyheads.experience.replay import Replay
from manyheads.experience.subproc_vector_env import choose_vector_env
from manyheads.experience.vector_env import EnvSlot, MakeVectorEnv
from manyheads.heads.policy import VectorPolicy
from manyheads.learning.device import accelerate, check_device
from manyheads.learning.labels import Labeller
from manyheads.learning.latent_rewards import LatentRewards
from manyheads.learning.learner import Learner
from manyheads.learning.prefetch import BatchSampler, Prefetcher, TrainingBatch, UpdateCount, UpdateOutput
from manyheads.learning.readouts import ReadoutLearner
from manyheads.learning.refresh_latents import refresh_latents
from manyheads.learning.stop import StopRequest
from manyheads.storage.agent import build_head, load_module
from manyheads.storage.readouts import (
    READOUTS,
    add_readouts,
    load_readouts,
    optimizer_tensors,
    readout_record,
    readout_tensors,
)
from manyheads.storage.world_folder import WorldFolder
from manyheads.task import Task
from manyheads.world.model import World

if TYPE_CHECKING:
    from manyheads.report.metrics import Metrics
    from manyheads.report.progress import Progress

FIT_UPDATES = 1000
"""by which a readout that a frozen world lacks is trained"""
METRICS_EVERY = 50
"""updates between two lines of metrics"""
FULL = (
    "The GPU has too little memory: {error}. The last checkpoint stands. Close other programs on it and run the "
    "command again, or begin a world with a smaller world.size or training.batch_size."
)
COMPILING = "Still getting ready: what is computed is compiled first, a minute or more where its shapes are new here."


class Trainer:
    """Trains the heads of `tasks` on the world in `folder`, and the world too unless it is `frozen`.

    Progress lives in the folder's checkpoint under `run`; a new Trainer on the same folder goes on from it.
    """

    def __init__(
        self,
        folder: WorldFolder,
        tasks: Sequence[Task],
        frozen: bool = False,
        make_vector_env: MakeVectorEnv | None = None,
    ) -> None:
        """`make_vector_env` makes the environments that are collected from; as the settings have it by default."""
        self.folder, self.tasks, self.frozen = folder, list(tasks), frozen
        settings = folder.settings
        check_device(settings.training.device)
        torch.manual_seed(settings.seed)
        self.world = World(folder.interface, settings.world).to(settings.training.device)
        accelerate(self.world, settings.training)
        self.heads = {task.name: build_head(task, self.world, folder) for task in tasks}
        self.learner = Learner(self.world, self.heads, settings.optimizer, settings.seed, train_world=not frozen)
        self._open_readouts()
        self.latent_rewards = LatentRewards(self.world, tasks, settings.optimizer, settings.seed)
        self.learner.latent_rewards = self.latent_rewards.networks
        self.replay: Replay = folder.replay()
        training = settings.training
        self.make_vector_env = make_vector_env or choose_vector_env(training.workers, training.step_timeout)
        self.steps = self.updates = 0
        self.update_credit = 0.0
        self._collector: Collector | None = None
        self._policy: VectorPolicy | None = None
        self._prefetcher: Prefetcher | None = None
        self._sound = True
        """what was learned may be saved: no update has begun that did not end"""
        self._run: dict[str, Any] = {}
        self._ready: set[str] = set()
        self._restore()

    @property
    def run_name(self) -> str:
        """Where this run's progress is kept: joint training has one record, each fine-tuned head its own."""
        return "train" if not self.frozen else f"finetune/{self.tasks[0].slug}"

    @property
    def learns(self) -> bool:
        """Whether there is anything to train."""
        return not self.frozen or any(head.learns for head in self.heads.values())

    def collect_and_learn(self, steps: int, progress: Progress, metrics: Metrics) -> None:
        """Goes on until `steps` rows have been collected in this run, learning at the replay ratio."""
        training = self.folder.settings.training
        tasks = self._dealt(progress)
        rows_an_update = training.batch_size * training.batch_length
        before_learning = max(rows_an_update, len(tasks) * training.batch_length)
        credit = self.update_credit + (steps - max(before_learning, self.steps)) * training.train_ratio / rows_an_update
        if self.learns and self.steps < steps and credit < 1:
            progress.say(
                f"Nothing is learned up to step {steps:,}: learning begins at step {before_learning:,}, and then an "
                f"update takes {rows_an_update / training.train_ratio:,.4g} steps."
            )
        self._refresh_latents(progress)
        collector, policies = self._open_collector(tasks)
        feed = self._open_prefetcher(metrics)
        with self._safely(progress) as stopping:
            while not stopping():
                if self.update_credit >= 1:
                    self._update(feed, progress)
                    self.update_credit -= 1
                elif self.steps < steps:
                    result = collector.collect(policies.act)
                    self.steps += result.rows
                    progress.advance(result.rows)
                    for failure in result.failures:
                        progress.say(failure)
                    for episode in result.finished:
                        self._report(episode, metrics, progress)
                    if self.steps >= before_learning and self.learns:
                        self.update_credit += result.rows * training.train_ratio / rows_an_update
                else:
                    break

    def _dealt(self, progress: Progress) -> list[Task]:
        """The task of each environment: every task has one. Raises ManyheadsError where replay is too small."""
        training = self.folder.settings.training
        count = max(training.num_envs, len(self.tasks))
        if count > training.num_envs:
            progress.say(f"{count} environments are stepped, one a task; training.num_envs is {training.num_envs}.")
        room = self.replay.room(max(len(task.instance.signals) for task in self.tasks))
        if problem := training.lacks_room(count, room):
            raise ManyheadsError(f"{self.folder.path}: {problem}. Begin a world with more, or with shorter sequences.")
        return [self.tasks[i % len(self.tasks)] for i in range(count)]

    def imagine(self, updates: int, progress: Progress, metrics: Metrics) -> None:
        """Trains the heads on what replay holds, until `updates` have been made in this run; no environment.

        Heads with nothing to learn only get what they need of the world.
        """
        self._refresh_latents(progress)
        self._fit_readouts()
        feed = self._open_prefetcher(metrics)
        with self._safely(progress) as stopping:
            while self.learns and self.updates < updates and not stopping():
                self._update(feed, progress)
                progress.advance(1)

    def save(self) -> None:
        """Writes one consistent checkpoint."""
        if self._prefetcher is not None:
            self._prefetcher.drain()
        self.replay.flush()
        checkpoint = self.folder.checkpoint
        sets: dict[str, Mapping[str, Tensor]] = {f"{self.run_name}/learner": self.learner.state_dict()}
        if not self.frozen:
            sets["world"] = self.world.state_dict()
        if not self.frozen or self._fresh_readouts:
            sets[READOUTS] = readout_tensors(self.world, self.readouts.state_dict())
        for task in self.tasks:
            sets[f"heads/{task.slug}/weights"] = self.heads[task.name].state_dict()
            if reward := self.latent_rewards.state_dict(task.name):
                sets[f"heads/{task.slug}/reward"] = reward
        run: dict[str, Any] = {"steps": self.steps, "updates": self.updates, "update_credit": self.update_credit}
        run["tasks"] = [task.name for task in self.tasks]
        run["replay"] = self.replay.state()
        if self._collector is not None and self._policy is not None:
            run["collector"] = self._collector.state()
            sets[f"{self.run_name}/policies"] = self._policy.state_dict()
        state = dict(checkpoint.state)
        state["runs"] = {**state.get("runs", {}), self.run_name: run}
        state["heads"] = {**state.get("heads", {})}
        if not self.frozen:
            state["steps"], state["updates"] = self.steps, self.updates
        if READOUTS in sets:
            state[READOUTS] = readout_record(self.world)
        for task in self.tasks:
            state["heads"][task.name] = self._head_record(state)
        checkpoint.write(sets, state)

    def close(self) -> None:
        """Ends the environments and lets go of the replay."""
        if self._collector is not None:
            self._collector.close()
        self.replay.close()

    def _refresh_latents(self, progress: Progress) -> None:
        """Makes stored latents the frozen world's own, once: heads then learn from them."""
        if self.frozen and self.replay.world_id is None:
            with self._patience(progress, "refresh"):
                refresh_latents(self.world, self.replay, self.folder.settings.seed)

    def _open_readouts(self) -> None:
        """The world's readouts and what trains them; those of the tasks' environments are made where missing."""
        load_readouts(self.world, self.folder)
        instances = [task.instance for task in self.tasks]
        self._fresh_readouts = add_readouts(self.world, instances, self.folder.settings.seed)
        self.readouts = ReadoutLearner(self.world, self.folder.settings.optimizer)
        for key, optimizer in self.readouts.optimizers.items():
            saved = optimizer_tensors(self.folder, key)
            if saved and key not in self._fresh_readouts:
                optimizer.load_state_dict(saved)

    def _fit_readouts(self) -> None:
        """Trains readouts that a frozen world lacks, from stored latents."""
        fresh = {key: self.world.readouts[key] for key in self._fresh_readouts}
        training, device = self.folder.settings.training, self.world.device
        size = training.batch_size, training.batch_length
        draw = BatchSampler(self.replay, self.folder.interface, {}, size, frozen=True, readouts=fresh)
        for _ in range(FIT_UPDATES if fresh else 0):
            work: TrainingBatch = map_tensors(lambda x: x.to(device), draw()[0])
            assert work.latents is not None
            self.readouts.update(work.latents, work.signals, work.batch.is_terminal)

    def _head_record(self, state: Mapping[str, Any]) -> dict[str, Any]:
        return {"world_updates": state.get("updates", 0), "run": self.run_name}

    def _restore(self) -> None:
        checkpoint = self.folder.checkpoint
        for repair in self.replay.repairs:
            print(repair)
        if "world" in checkpoint.names:
            load_module(self.world, self.folder, "world")
        for task in self.tasks:
            if f"heads/{task.slug}/weights" in checkpoint.names:
                load_module(self.heads[task.name], self.folder, f"heads/{task.slug}/weights")
            if f"heads/{task.slug}/reward" in checkpoint.names:
                self.latent_rewards.load_state_dict(task.name, checkpoint.read(f"heads/{task.slug}/reward"))
        self._run = checkpoint.state.get("runs", {}).get(self.run_name, {})
        if self._run:
            name = f"{self.run_name}/learner"
            self.learner.load_state_dict(checkpoint.read(name), self.folder.interface_of(name))
            self.steps, self.updates = self._run["steps"], self._run["updates"]
            self.update_credit = self._run["update_credit"]
            for note in self.replay.restore(self._run["replay"]):
                print(note)

    def _open_collector(self, tasks: Sequence[Task]) -> tuple[Collector, VectorPolicy]:
        if self._collector is not None and self._policy is not None:
            return self._collector, self._policy
        settings = self.folder.settings
        slots = [EnvSlot(task.instance, task.name, task.episode_steps) for task in tasks]
        self._collector = Collector(slots, self.folder.interface, self.replay, settings.seed, self.make_vector_env)
        self._policy = VectorPolicy(self.world, self.heads, [task.name for task in tasks], settings.seed)
        saved = self._run.get("collector")
        if saved and len(saved["envs"]) == len(tasks) and self._same_interface(f"{self.run_name}/policies"):
            self._policy.load_state_dict(self.folder.checkpoint.read(f"{self.run_name}/policies"))
            for note in self._collector.restore(saved, self.replay):
                print(note)
        return self._collector, self._policy

    def _same_interface(self, name: str) -> bool:
        """Whether the world has not grown since a set of tensors was saved: else episodes are begun anew, for rows
        have another shape."""
        return self.folder.interface_of(name) == self.folder.interface

    def _open_prefetcher(self, metrics: Metrics) -> Prefetcher:
        training, device = self.folder.settings.training, self.world.device
        labellers = {task.name: Labeller(task, self.replay) for task in self.tasks}
        draw = BatchSampler(
            self.replay,
            self.folder.interface,
            labellers,
            (training.batch_size, training.batch_length),
            self.frozen,
            {} if self.frozen else self.world.readouts,
        )

        def keep(at: UpdateCount, where: WindowIndex, learned: UpdateOutput) -> None:
            if self.learner.asynchronous:
                learned.numbers.require_finite("the last checkpoint stands, and this run's command goes on")
            if learned.latents is not None:
                self.replay.write_latents(where, learned.latents)
            if at.updates % METRICS_EVERY == 0:
                metrics.write(at.steps, at.updates, learned.numbers.read())

        self._prefetcher = Prefetcher(draw, self._learn, keep, device, ahead=self.learner.asynchronous)
        return self._prefetcher

    def _learn(self, work: TrainingBatch) -> UpdateOutput:
        self._sound = False
        if work.latents is not None:
            update = self.learner.update_heads(work.batch, work.latents, work.labels)
        else:
            update = self.learner.update(work.batch, work.labels, work.vector_mask, work.image_mask)
        latents = work.latents or update.latents
        assert latents is not None
        numbers = update.numbers.and_more(self.readouts.update(latents, work.signals, work.batch.is_terminal))
        masks = {name: labels.mask for name, labels in work.labels.items()}
        numbers = numbers.and_more(self.latent_rewards.update(work.batch, latents, masks))
        return UpdateOutput(numbers, None if update.latents is None else self.replay.latent.pack(*update.latents))

    def _update(self, feed: Prefetcher, progress: Progress) -> None:
        with self._patience(progress, "update"):
            feed.update(UpdateCount(self.steps, self.updates + 1))
        self.updates += 1
        self._sound = True

    def _patience(self, progress: Progress, work: str) -> AbstractContextManager[None]:
        """Around work that is compiled on first use: says so where that takes long."""
        if work in self._ready or not self.world.execution.compiled:
            return nullcontext()
        self._ready.add(work)
        return progress.patience(COMPILING)

    @contextmanager
    def _safely(self, progress: Progress) -> Iterator[Callable[[], bool]]:
        """Saves now and then and at every end but one inside an update or at a second Ctrl-C. The first, SIGTERM and
        SIGHUP end the work with KeyboardInterrupt."""
        stop = StopRequest()
        every = 60 * self.folder.settings.training.checkpoint_minutes
        saved = time.monotonic()

        def stopping() -> bool:
            nonlocal saved
            stop.keep()
            if time.monotonic() - saved > every:
                self.save()
                saved = time.monotonic()
            return stop.requested

        with stop:
            try:
                with self._in_words(stop, progress):
                    yield stopping
            except BaseException as error:
                if self._sound and not (stop.requested and isinstance(error, KeyboardInterrupt)):
                    with suppress(ManyheadsError):  # what ended the work is said, not that a full disk stays full
                        self.save()
                raise
            self.save()
        if stop.requested:
            progress.say(f"Stopped and saved at {self.steps} steps, {self.updates} updates; the same command goes on.")
            raise KeyboardInterrupt

    @contextmanager
    def _in_words(self, stop: StopRequest, progress: Progress) -> Iterator[None]:
        """What ends an update though nothing is wrong with it, in words."""
        try:
            yield
        except torch.OutOfMemoryError as error:
            raise ManyheadsError(FULL.format(error=str(error).split(". ")[0])) from error
        except Exception as error:
            if not stop.requested or not is_compiler_error(error):
                raise
            progress.say("Stopped while compiling: rows are kept, and weights as last saved; the same command goes on.")
            raise KeyboardInterrupt from None

    def _report(self, episode: FinishedEpisode, metrics: Metrics, progress: Progress) -> None:
        task = next(task for task in self.tasks if task.name == episode.policy)
        assert self._collector is not None
        stored = self.replay.newest_episode(self._collector.streams[episode.env])
        numbers = {f"{task.name}/simulator": episode.score}
        if stored is not None:
            reward = task.reward.label({name: stored.signals[name] for name in task.reward.signals}).reward
            numbers[f"{task.name}/return"] = float(reward.sum())
            progress.advance(0, {task.name: numbers[f"{task.name}/return"]})
        metrics.write(self.steps, self.updates, numbers)
