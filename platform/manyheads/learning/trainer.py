"""The loop: collect rows in lock-step, learn from replay, keep everything safe.

One loop, four uses: a world and its heads jointly, with new experience or on what was recorded, and a head on a frozen
world, with new experience or in imagination alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import torch

from manyheads.callbacks import EventKind, Monitoring
from manyheads.errors import ManyheadsError
from manyheads.execution.choose_threads import ThreadChoice
from manyheads.execution.ranks import ALONE, Ranks
from manyheads.experience.batch import WindowIndex
from manyheads.experience.collector import FinishedEpisode
from manyheads.experience.replay import Replay
from manyheads.learning.best_heads import BestHeads
from manyheads.learning.build_update_step import build_update_step
from manyheads.learning.device import accelerate, choose_device
from manyheads.learning.fresh_readouts import fit_fresh_readouts
from manyheads.learning.labels import Labeller
from manyheads.learning.lock_step import LockStep, MakeRowCollector, RowCollector
from manyheads.learning.prefetch import (
    BatchSampler,
    Prefetcher,
    TrainingBatch,
    UpdateCount,
    UpdateOutput,
    environment_shares,
)
from manyheads.learning.refresh_latents import refresh_latents
from manyheads.learning.run_checkpoint import RunCheckpoint, RunSave
from manyheads.learning.run_monitor import RunMonitor
from manyheads.learning.run_records import group_by_progress, run_names, run_record
from manyheads.learning.safe_run import SafeRun
from manyheads.learning.signal_ranges import RangeWatch
from manyheads.learning.update_step import dealt
from manyheads.storage.world_folder import WorldFolder
from manyheads.task import Task

if TYPE_CHECKING:
    from manyheads.report.metrics import Metrics
    from manyheads.report.progress import Progress

METRICS_EVERY = 50
"""updates between two lines of metrics"""
COMPILING = "Still getting ready: what is computed is compiled first, a minute or more where its shapes are new here."


class Trainer:
    """Trains the heads of `tasks` on the world in `folder`, and the world too unless it is `frozen`.

    Progress is kept in the folder's checkpoint (`RunCheckpoint`); a new Trainer on the same folder resumes from it.
    """

    def __init__(
        self,
        folder: WorldFolder,
        tasks: Sequence[Task],
        frozen: bool = False,
        make_collector: MakeRowCollector = LockStep,
        ranks: Ranks = ALONE,
        send: Callable[[RunSave], None] | None = None,
    ) -> None:
        """`make_collector` makes what steps the environments; in lock-step with learning by default. With several
        `ranks` this is their root, and the others `follow`: a run resumes bit for bit with one rank alone. `send` gets
        each save of heads on a frozen world whose latents are up to date, for another process that writes it: this
        one only reads the folder."""
        self.folder, self.tasks, self.frozen = folder, list(tasks), frozen
        settings = folder.settings
        if settings.training.batch_size % ranks.count:
            raise ManyheadsError(
                f"{ranks.count} learners share batches of {settings.training.batch_size} sequences: set their number "
                "to one that divides training.batch_size."
            )
        device = choose_device(folder)
        threads = run_record(folder, run_names(tasks, frozen)[tasks[0].name]).get("threads")
        self._threads = ThreadChoice(settings.training.threads, device, threads)
        self.step = build_update_step(folder, self.tasks, device, frozen, ranks)
        self.learner, self.ranks = self.step.learner, ranks
        self.world, self.heads = self.learner.world, self.learner.heads
        self._send = send
        self.replay: Replay = folder.replay(read_only=send is not None)
        self._best = BestHeads()
        self._checkpoint = RunCheckpoint(folder, self.tasks, frozen, self.step, self.replay, self._best)
        self._safe = SafeRun(self.save, settings.training.checkpoint_minutes)
        self.stop = self._safe.stop
        self._make_collector = make_collector
        self._collector: RowCollector | None = None
        self._collecting: Mapping[str, float] = {}
        self._prefetcher: Prefetcher | None = None
        self._ranges = RangeWatch()
        self._ready: set[str] = set()
        self._prepared = False
        if frozen and len(group_by_progress(folder, tasks)) > 1:
            raise ValueError(
                "Heads that are fine-tuned together share an environment and progress: see `group_by_progress`."
            )
        record = self._checkpoint.restore()
        if not (record or frozen):  # a world out of a pack has no run, and was trained all the same
            record = {name: folder.checkpoint.state.get(name, 0) for name in ("steps", "updates")}
        self.steps, self.updates = record.get("steps", 0), record.get("updates", 0)
        self.update_credit = record.get("update_credit", 0.0)
        self._monitor = self._begin(Monitoring())
        self.step.send_state()

    @property
    def stopped(self) -> bool:
        """Whether a callback has ended the run."""
        return self._monitor.stopped

    @property
    def learns(self) -> bool:
        """Whether there is anything to train."""
        return not self.frozen or any(head.learns for head in self.heads.values())

    def collect_and_learn(
        self, steps: int, progress: Progress, metrics: Metrics, monitoring: Monitoring | None = None
    ) -> None:
        """Continues until `steps` rows have been collected in this run, or a callback ends it, learning at the replay
        ratio."""
        training = self.folder.settings.training
        monitor = self._begin(monitoring)
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
        collector = self._open_collector(tasks, progress)
        feed = self._open_prefetcher(metrics)
        with self._safe.around(self._monitor, self._now, progress) as stopping:
            self._tell("start")
            while not stopping():
                if self.update_credit >= 1 and not collector.due(self.updates):
                    self._update(feed, progress)
                    self.update_credit -= 1
                elif self.steps < steps:
                    wanted = 0 if self.update_credit >= 1 else steps - self.steps
                    result = collector.collect(self.updates, wanted)
                    self.steps += result.rows
                    self._collecting = result.numbers or self._collecting
                    progress.advance(result.rows, result.numbers)
                    for failure in result.failures:
                        progress.say(failure)
                    for episode in result.finished:
                        self._report(episode, metrics, progress)
                    if self.steps >= before_learning and self.learns:
                        self.update_credit += result.rows * training.train_ratio / rows_an_update
                    self._tell("step")
                    if monitor.due(self.steps):
                        self._evaluate(metrics, progress)
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

    def imagine(self, updates: int, progress: Progress, metrics: Metrics, monitoring: Monitoring | None = None) -> None:
        """Trains the heads on what replay holds, until `updates` have been made in this run, or a callback ends it; no
        environment.

        Heads with nothing to learn only get what they need of the world.
        """
        monitor = self._begin(monitoring)
        self.prepare(progress)
        feed = self._open_prefetcher(metrics)
        with self._safe.around(self._monitor, self._now, progress) as stopping:
            self._tell("start")
            while self.learns and self.updates < updates and not stopping():
                self._update(feed, progress)
                progress.advance(1)
                if monitor.due(self.updates):
                    self._evaluate(metrics, progress)

    def prepare(self, progress: Progress) -> None:
        """Makes the stored latents those of this frozen world, and fits readouts that it lacks; once."""
        self._refresh_latents(progress)
        if not self._prepared:
            fit_fresh_readouts(self.step.readouts, self.folder, self.replay)
            self._prepared = True

    def is_new(self, task: Task) -> bool:
        """Whether nothing has been saved of a task's head yet."""
        return f"heads/{task.slug}/weights" not in self.folder.checkpoint.names

    def learn(self, updates: int, progress: Progress, metrics: Metrics) -> None:
        """Trains world and heads on what replay holds, until `updates` have been made in this run; no environment."""
        feed = self._open_prefetcher(metrics)
        with self._safe.around(self._monitor, self._now, progress) as stopping:
            while self.updates < updates and not stopping():
                self._update(feed, progress)
                progress.advance(1)

    def save(self) -> None:
        """Writes, or sends, one consistent checkpoint."""
        if self._prefetcher is not None:
            self._prefetcher.drain()
        counts = {"steps": self.steps, "updates": self.updates, "update_credit": self.update_credit}
        if self._send is None:
            self._checkpoint.save(counts, self._collector)
        else:
            self._send(self._checkpoint.content(counts).copied())
        self._tell("checkpoint")

    def close(self) -> None:
        """Closes the environments and the replay."""
        self._threads.restore()
        if self._collector is not None:
            self._collector.close()
        self.replay.close()

    def _begin(self, monitoring: Monitoring | None) -> RunMonitor:
        """What watches this run from here on."""
        heads = {task.name: (task, self.heads[task.name]) for task in self.tasks}
        self._monitor = RunMonitor(monitoring or Monitoring(), self.world, heads, self._best.returns, self._keep_best)
        return self._monitor

    def _now(self) -> UpdateCount:
        return UpdateCount(self.steps, self.updates)

    def _tell(self, kind: EventKind, task: str = "", numbers: Mapping[str, float] | None = None) -> None:
        self._monitor.tell(kind, self._now(), task, numbers)

    def _evaluate(self, metrics: Metrics, progress: Progress) -> None:
        """Plays the heads; those that are better than before are saved at once."""
        if self._prefetcher is not None:
            self._prefetcher.drain()
        self._monitor.evaluate(self._now(), metrics, progress)
        if self._best.has_unsaved:
            self.save()

    def _keep_best(self, task: Task, mean_return: float) -> None:
        episodes = self._monitor.monitoring.evaluate_episodes
        self._best.add(task, {**self._now()._asdict(), "mean_return": mean_return, "episodes": episodes})

    def _refresh_latents(self, progress: Progress) -> None:
        """Makes stored latents the frozen world's own, once: heads then learn from them."""
        if self.frozen and self.replay.world_id is None:
            with self._patience(progress, "refresh"):
                refresh_latents(self.world, self.replay, self.folder.settings.seed)

    def _open_collector(self, tasks: Sequence[Task], progress: Progress) -> RowCollector:
        if self._collector is None:
            self._collector = self._make_collector(self._checkpoint.collector_context(tasks, progress.say))
        return self._collector

    def _shares(self) -> dict[str, float] | None:
        """The share of each dynamics key in a batch: heads of a frozen world need rows of their own alone."""
        only = self.tasks[0].instance.dynamics_key if self.frozen else None
        return environment_shares(self.replay.instances, self.folder.settings.training.environment_shares, only)

    def _open_prefetcher(self, metrics: Metrics) -> Prefetcher:
        training = self.folder.settings.training
        labellers = {task.name: Labeller(task, self.replay) for task in self.tasks}
        draw = BatchSampler(
            self.replay,
            self.folder.interface,
            labellers,
            (training.batch_size, training.batch_length),
            self.frozen,
            {} if self.frozen else self.world.readouts,
            self._shares,
        )

        def keep(at: UpdateCount, where: WindowIndex, learned: UpdateOutput) -> None:
            if self.learner.asynchronous:
                learned.numbers.require_finite("the last checkpoint stands, and this run's command continues")
            if learned.latents is not None:
                self.replay.write_latents(where, learned.latents)
            if at.updates % METRICS_EVERY == 0:
                numbers = {**learned.numbers.read(), **self._collecting}
                metrics.write(at.steps, at.updates, numbers)
                self._monitor.tell("update", at, numbers=numbers)

        alone = self.ranks.count == 1
        device = self.world.device if alone else torch.device("cpu")  # ranks move their parts themselves
        ahead = alone and self.learner.asynchronous
        self._prefetcher = Prefetcher(lambda: dealt(*draw(), self.ranks.count), self._learn, keep, device, ahead)
        return self._prefetcher

    def _learn(self, work: TrainingBatch) -> UpdateOutput:
        self._safe.sound = False
        return self.step(work)

    def _update(self, feed: Prefetcher, progress: Progress) -> None:
        began = time.monotonic()
        with self._patience(progress, "update"):
            feed.update(UpdateCount(self.steps, self.updates + 1))
        self.updates += 1
        self._safe.sound = True
        if changed := self._threads.changed(time.monotonic() - began):
            progress.say(changed)
            accelerate(self.world, self.folder.settings.training)  # compiled functions are made for a number of threads
            self._ready.clear()

    def _patience(self, progress: Progress, work: str) -> AbstractContextManager[None]:
        """Around work that is compiled on first use: says so where that takes long."""
        if work in self._ready or not self.world.execution.compiled:
            return nullcontext()
        self._ready.add(work)
        return progress.patience(COMPILING)

    def _report(self, episode: FinishedEpisode, metrics: Metrics, progress: Progress) -> None:
        task = next(task for task in self.tasks if task.name == episode.policy)
        stored = self.replay.find_episode(episode.stream, episode.episode)
        numbers = {f"{task.name}/simulator": episode.score}
        if stored is not None:
            for passed in self._ranges.look(task.instance, stored.signals):
                progress.say(passed)
            reward = task.reward.label({name: stored.signals[name] for name in task.reward.signals}).reward
            numbers[f"{task.name}/return"] = float(reward.sum())
            progress.advance(0, {task.name: numbers[f"{task.name}/return"]})
        metrics.write(self.steps, self.updates, numbers)
        self._tell("episode", task.name, {name.removeprefix(f"{task.name}/"): x for name, x in numbers.items()})
