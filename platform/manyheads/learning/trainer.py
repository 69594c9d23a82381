"""The loop: collect rows in lock-step, learn from replay, keep everything safe.

One loop, four uses: a world and its heads jointly, with new experience or on what was recorded, and a head on a frozen
world, with new experience or in imagination alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from manyheads.callbacks import EventKind, Monitoring
from manyheads.errors import ManyheadsError
from manyheads.execution.choose_threads import ThreadChoice
from manyheads.execution.ranks import ALONE, Ranks
from manyheads.execution.toolchain import is_compiler_error
from manyheads.execution.trees import map_tensors
from manyheads.experience.batch import WindowIndex
from manyheads.experience.collector import FinishedEpisode
from manyheads.experience.replay import Replay
from manyheads.heads.contract import Head
from manyheads.learning.device import accelerate, choose_device
from manyheads.learning.labels import Labeller
from manyheads.learning.latent_rewards import LatentRewards
from manyheads.learning.learner import Learner
from manyheads.learning.lock_step import CollectorContext, LockStep, MakeRowCollector, RowCollector
from manyheads.learning.prefetch import (
    BatchSampler,
    Prefetcher,
    TrainingBatch,
    UpdateCount,
    UpdateOutput,
    environment_shares,
)
from manyheads.learning.readouts import ReadoutLearner
from manyheads.learning.refresh_latents import refresh_latents
from manyheads.learning.run_monitor import RunMonitor
from manyheads.learning.signal_ranges import RangeWatch
from manyheads.learning.stop import StopRequest
from manyheads.learning.update_step import UpdateStep, dealt
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

JOINT = "train"
"""the run of joint training"""
FIT_UPDATES = 1000
"""by which a readout that a frozen world lacks is trained"""
METRICS_EVERY = 50
"""updates between two lines of metrics"""
FULL = (
    "The GPU has too little memory: {error}. The last checkpoint stands. Close other programs on it and run the "
    "command again, or begin a world with a smaller world.size or training.batch_size."
)
COMPILING = "Still getting ready: what is computed is compiled first, a minute or more where its shapes are new here."


def run_of(task: Task) -> str:
    """The run in which a head is fine-tuned."""
    return f"finetune/{task.slug}"


def fine_tuned(folder: WorldFolder, task: Task) -> Mapping[str, Any]:
    """The record of a head's fine-tuning; empty before the first, and where the world model was trained on since: the
    head's weights are then where a new run begins."""
    if task.name in folder.heads and folder.is_stale(task.name):
        return {}
    record: Mapping[str, Any] = folder.checkpoint.state.get("runs", {}).get(run_of(task), {})
    return record


def by_progress(folder: WorldFolder, tasks: Sequence[Task]) -> list[list[Task]]:
    """Tasks of one environment whose heads were fine-tuned equally far: they learn from the same batches, so each of
    these groups may go on as one, with the numbers that each head has alone."""
    found: dict[tuple[str, int, int], list[Task]] = {}
    for task in tasks:
        run = fine_tuned(folder, task)
        key = task.instance.dynamics_key, run.get("steps", 0), run.get("updates", 0)
        found.setdefault(key, []).append(task)
    return [*found.values()]


class Trainer:
    """Trains the heads of `tasks` on the world in `folder`, and the world too unless it is `frozen`.

    Progress lives in the folder's checkpoint under `run`; a new Trainer on the same folder goes on from it.
    """

    def __init__(
        self,
        folder: WorldFolder,
        tasks: Sequence[Task],
        frozen: bool = False,
        make_collector: MakeRowCollector = LockStep,
        ranks: Ranks = ALONE,
    ) -> None:
        """`make_collector` makes what steps the environments; in lock-step with learning by default. With several
        `ranks` this is their root, and the others `follow`: a run goes on bit for bit with one rank alone."""
        self.folder, self.tasks, self.frozen = folder, list(tasks), frozen
        settings = folder.settings
        if settings.training.batch_size % ranks.count:
            raise ManyheadsError(
                f"{ranks.count} learners share batches of {settings.training.batch_size} sequences: set their number "
                "to one that divides training.batch_size."
            )
        device = choose_device(folder)
        before = folder.checkpoint.state.get("runs", {}).get(self.run_name, {}).get("threads")
        self._threads = ThreadChoice(settings.training.threads, device, before)
        torch.manual_seed(settings.seed)
        self.world = World(folder.interface, settings.world).to(device)
        accelerate(self.world, settings.training)
        self.heads = self._build_heads()
        self.learner = Learner(
            self.world,
            self.heads,
            settings.optimizer,
            settings.seed,
            train_world=not frozen,
            ranks=ranks,
            starts_per_head=settings.training.starts_per_head,
            stack_room=settings.training.stack_room,
        )
        self._open_readouts()
        self.latent_rewards = LatentRewards(self.world, tasks, settings.optimizer, settings.seed)
        self.learner.latent_rewards = self.latent_rewards.networks
        self.replay: Replay = folder.replay()
        self.step = UpdateStep(self.learner, self.readouts, self.latent_rewards, self.replay.latent)
        self.make_collector, self.ranks, self.stop = make_collector, ranks, StopRequest()
        self.steps = self.updates = 0
        self.update_credit = 0.0
        self._collector: RowCollector | None = None
        self._collecting: Mapping[str, float] = {}
        self._prefetcher: Prefetcher | None = None
        self._sound = True
        """what was learned may be saved: no update has begun that did not end"""
        self._run: Mapping[str, Any] = {}
        self._best: dict[str, dict[str, Any]] = {}
        """records of the best heads of this run's tasks"""
        self._new_best: list[Task] = []
        self._monitor = self._begin(Monitoring())
        self._ranges = RangeWatch()
        self._ready: set[str] = set()
        self._prepared = False
        if frozen and len(by_progress(folder, tasks)) > 1:
            raise ValueError("Heads that are fine-tuned together share an environment and progress: see `by_progress`.")
        self._restore()
        self.step.send_state()

    def _build_heads(self) -> dict[str, Head]:
        """The tasks' heads; on a frozen world each begins with the weights that it would have alone."""
        state, heads = torch.get_rng_state(), {}
        for task in self.tasks:
            if self.frozen:
                torch.set_rng_state(state)
            heads[task.name] = build_head(task, self.world, self.folder)
        return heads

    @property
    def run_names(self) -> dict[str, str]:
        """Where the progress of each task is kept: joint training has one record, each fine-tuned head its own."""
        return {task.name: run_of(task) if self.frozen else JOINT for task in self.tasks}

    @property
    def run_name(self) -> str:
        """Where the collector is kept; heads that are fine-tuned together keep it with the first of them."""
        return self.run_names[self.tasks[0].name]

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
        """Goes on until `steps` rows have been collected in this run, or a callback ends it, learning at the replay
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
        with self._safely(progress) as stopping:
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
        with self._safely(progress) as stopping:
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
            self._fit_readouts()
            self._prepared = True

    def is_new(self, task: Task) -> bool:
        """Whether nothing has been saved of a task's head yet."""
        return f"heads/{task.slug}/weights" not in self.folder.checkpoint.names

    def learn(self, updates: int, progress: Progress, metrics: Metrics) -> None:
        """Trains world and heads on what replay holds, until `updates` have been made in this run; no environment."""
        feed = self._open_prefetcher(metrics)
        with self._safely(progress) as stopping:
            while self.updates < updates and not stopping():
                self._update(feed, progress)
                progress.advance(1)

    def save(self) -> None:
        """Writes one consistent checkpoint."""
        if self._prefetcher is not None:
            self._prefetcher.drain()
        self.replay.flush()
        checkpoint = self.folder.checkpoint
        sets: dict[str, Mapping[str, Tensor]] = {
            f"{run}/learner": self.learner.state_dict(name if self.frozen else None)
            for name, run in self.run_names.items()
        }
        if not self.frozen:
            sets["world"] = self.world.state_dict()
        if not self.frozen or self._fresh_readouts:
            sets[READOUTS] = readout_tensors(self.world, self.readouts.state_dict())
        for task in self.tasks:
            sets[f"heads/{task.slug}/weights"] = self.heads[task.name].state_dict()
            if reward := self.latent_rewards.state_dict(task.name):
                sets[f"heads/{task.slug}/reward"] = reward
        for task in self._new_best:
            sets[f"best/{task.slug}/world"] = self.world.state_dict()
            sets[f"best/{task.slug}/weights"] = self.heads[task.name].state_dict()
        run: dict[str, Any] = {"steps": self.steps, "updates": self.updates, "update_credit": self.update_credit}
        run["tasks"], run["threads"] = [task.name for task in self.tasks], torch.get_num_threads()
        run["replay"] = self.replay.state()
        runs = {name: dict(run) for name in self.run_names.values()}
        if self._collector is not None:
            runs[self.run_name]["collector"] = self._collector.state()
            checkpoint.forget(f"{self.run_name}/policies")
            if policies := self._collector.tensors():
                sets[f"{self.run_name}/policies"] = policies
        state = dict(checkpoint.state)
        state["runs"] = {**state.get("runs", {}), **runs}
        state["heads"] = {**state.get("heads", {})}
        if not self.frozen:
            state["steps"], state["updates"] = self.steps, self.updates
        if READOUTS in sets:
            state[READOUTS] = readout_record(self.world)
        for task in self.tasks:
            state["heads"][task.name] = self._head_record(task, state)
        if self._best:
            state["best"] = {**state.get("best", {}), **self._best}
        checkpoint.write(sets, state)
        self._new_best = []
        self._tell("checkpoint")

    def close(self) -> None:
        """Ends the environments and lets go of the replay."""
        self._threads.restore()
        if self._collector is not None:
            self._collector.close()
        self.replay.close()

    def _begin(self, monitoring: Monitoring | None) -> RunMonitor:
        """What watches this run from here on."""
        heads = {task.name: (task, self.heads[task.name]) for task in self.tasks}
        best = {name: record["mean_return"] for name, record in self._best.items()}
        self._monitor = RunMonitor(monitoring or Monitoring(), self.world, heads, best, self._keep_best)
        return self._monitor

    def _tell(self, kind: EventKind, task: str = "", numbers: Mapping[str, float] | None = None) -> None:
        self._monitor.tell(kind, UpdateCount(self.steps, self.updates), task, numbers)

    def _evaluate(self, metrics: Metrics, progress: Progress) -> None:
        """Plays the heads; those that are better than before are saved at once."""
        if self._prefetcher is not None:
            self._prefetcher.drain()
        self._monitor.evaluate(UpdateCount(self.steps, self.updates), metrics, progress)
        if self._new_best:
            self.save()

    def _keep_best(self, task: Task, mean_return: float) -> None:
        episodes = self._monitor.monitoring.evaluate_episodes
        record = {"steps": self.steps, "updates": self.updates, "mean_return": mean_return, "episodes": episodes}
        self._best[task.name] = record
        self._new_best.append(task)

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

    def _head_record(self, task: Task, state: Mapping[str, Any]) -> dict[str, Any]:
        return {"world_updates": state.get("updates", 0), "run": self.run_names[task.name]}

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
            if record := checkpoint.state.get("best", {}).get(task.name):
                self._best[task.name] = record
        runs = {run_of(task): fine_tuned(self.folder, task) for task in self.tasks}
        self._run = runs[self.run_name] if self.frozen else checkpoint.state.get("runs", {}).get(JOINT, {})
        if self._run:
            for run in [run for run, begun in runs.items() if begun] if self.frozen else [JOINT]:
                name = f"{run}/learner"
                self.learner.load_state_dict(checkpoint.read(name), self.folder.interface_of(name))
            self.steps, self.updates = self._run["steps"], self._run["updates"]
            self.update_credit = self._run["update_credit"]
            for note in self.replay.restore(self._run["replay"]):
                print(note)

    def _open_collector(self, tasks: Sequence[Task], progress: Progress) -> RowCollector:
        if self._collector is None:
            policies = f"{self.run_name}/policies"
            saved = self._run["collector"] if self._run.get("collector") and self._same_environments(tasks) else None
            tensors = self.folder.checkpoint.read(policies) if policies in self.folder.checkpoint.names else {}
            self._collector = self.make_collector(
                CollectorContext(self.folder, tasks, self.world, self.heads, self.replay, saved, tensors, progress.say)
            )
        return self._collector

    def _same_environments(self, tasks: Sequence[Task]) -> bool:
        """Whether the saved run had these tasks, as many environments and the world's present interface: else episodes
        are begun anew."""
        saved = self.folder.interface_of(f"{self.run_name}/learner")
        names = [task.name for task in self.tasks]
        same = self._run["tasks"] == names and len(self._run["collector"]["envs"]) == len(tasks)
        return same and saved == self.folder.interface

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
                learned.numbers.require_finite("the last checkpoint stands, and this run's command goes on")
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
        self._sound = False
        return self.step(work)

    def _update(self, feed: Prefetcher, progress: Progress) -> None:
        began = time.monotonic()
        with self._patience(progress, "update"):
            feed.update(UpdateCount(self.steps, self.updates + 1))
        self.updates += 1
        self._sound = True
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

    @contextmanager
    def _safely(self, progress: Progress) -> Iterator[Callable[[], bool]]:
        """Saves now and then and at every end but one inside an update or at a second Ctrl-C. The first, SIGTERM and
        SIGHUP end the work with KeyboardInterrupt."""
        stop = self.stop
        every = 60 * self.folder.settings.training.checkpoint_minutes
        saved = time.monotonic()

        def stopping() -> bool:
            nonlocal saved
            stop.keep()
            if time.monotonic() - saved > every:
                self.save()
                saved = time.monotonic()
            return stop.requested or self._monitor.stopped

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
            self._tell("end")
        if stop.requested:
            progress.say(f"Stopped and saved at {self.steps} steps, {self.updates} updates; the same command goes on.")
            raise KeyboardInterrupt
        if self._monitor.stopped:
            progress.say(f"A callback ended the run at {self.steps:,} steps, {self.updates:,} updates; it is saved.")

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
