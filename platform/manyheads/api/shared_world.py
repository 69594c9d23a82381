"""`manyheads.load` and `manyheads.open_world`: a world in a few lines of Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from manyheads.callbacks import Callback
from manyheads.settings import MACHINE, Settings
from manyheads.storage.agent import Agent, LoadedWorld, VectorAgent
from manyheads.storage.evaluations import Evaluation
from manyheads.storage.packaged_worlds import world_folder
from manyheads.storage.world_folder import WORLD, WorldFolder

if TYPE_CHECKING:
    from manyheads.api.run import AnyTask, RunOptions
    from manyheads.learning.imagined_play import ImaginedPlay
    from manyheads.world.model import World


class SharedWorld:
    """One world model and its heads, in a folder; made by `manyheads.open_world` or `manyheads.load`.

    All that is trained lies in the folder: a script that was stopped resumes where it was, and the commands of the
    command line work on the same folder. Mistakes are ManyheadsError.
    """

    def __init__(
        self, path: str | Path, settings: str | Path | None = None, overrides: Sequence[str] = (), best: bool = False
    ) -> None:
        self.path = Path(path)
        self._source, self._overrides, self._best = settings, tuple(overrides), best
        self._loaded: LoadedWorld | None = None
        self._agent: Agent | None = None

    def __repr__(self) -> str:
        return f"SharedWorld({str(self.path)!r})"

    @property
    def exists(self) -> bool:
        """Whether there is a folder already; the first training makes it."""
        return (self.path / WORLD).exists()

    @property
    def folder(self) -> WorldFolder:
        """The folder as it is now; raises ManyheadsError before the first training."""
        return WorldFolder.open(self.path)

    @property
    def settings(self) -> Settings:
        """All settings of the world."""
        return self.folder.settings

    @property
    def steps(self) -> int:
        """Rows that joint training has collected; 0 before the first."""
        return int(self.folder.checkpoint.state.get("steps", 0)) if self.exists else 0

    @property
    def heads(self) -> tuple[str, ...]:
        """Names of the tasks that have a head."""
        return self.folder.heads if self.exists else ()

    @property
    def model(self) -> World:
        """The world model, as it was saved last."""
        return self._opened().model

    def head(self, name: str | None = None, seed: int = 0) -> Agent:
        """The agent of a task, by default of the only head; raises ManyheadsError with the near names."""
        return self._opened().head(name, seed)

    def vector_head(self, name: str, num_envs: int, seed: int = 0, same_step_reset: bool = False) -> VectorAgent:
        """The agent of a task for so many environments at once, as Gymnasium's vector environments step them.

        `same_step_reset` is for those that show the first observation of the next episode at once (Gymnasium's
        `AutoresetMode.SAME_STEP`, and Stable-Baselines3's).
        """
        return self._opened().vector_head(name, num_envs, seed, same_step_reset)

    def act(self, observation: Any, info: Mapping[str, Any] | None = None, *, deterministic: bool = False) -> Any:
        """What the agent of the only head does; see `Agent.act`. Raises ManyheadsError where there are several."""
        if self._agent is None:
            self._agent = self._opened().head()
        return self._agent.act(observation, info, deterministic=deterministic)

    def reset(self) -> None:
        """Call where an episode starts for `act`."""
        if self._agent is not None:
            self._agent.reset()

    def train(
        self,
        tasks: AnyTask | Sequence[AnyTask] = (),
        steps: int = 100_000,
        *,
        add: bool = False,
        callback: Callback | Sequence[Callback] = (),
        evaluate_every: int = 0,
        evaluate_episodes: int = 5,
        runner: str = "local",
        runner_options: Mapping[str, Any] | None = None,
        loggers: Sequence[str] = ("tensorboard",),
        logger_options: Mapping[str, Mapping[str, Any]] | None = None,
        progress: bool = True,
    ) -> SharedWorld:
        """Trains the world and a head for each of the tasks jointly, until it has collected `steps` rows in all.

        Without tasks it continues with those that it had last; with `add`, with those and these. A task is an object, a
        name, an environment's name (its own reward) or a file. Heads of other tasks become stale, which is said.
        `callback` gets every `TrainingEvent`. With `evaluate_every` rows, heads are played on seeds reserved for that,
        and the best of each is kept (`manyheads.load(path, best=True)`).
        """
        from manyheads.api import training
        from manyheads.api.run import resolve_tasks

        options = self._options(callback, evaluate_every, evaluate_episodes, loggers, logger_options, progress)
        chosen = training.tasks_of_run(self.path, resolve_tasks(self.folder if self.exists else None, tasks), add)
        if stale := training.stale_after(self.path, chosen, steps):
            options.say(training.stale_words(stale))
        training.train(
            self.path,
            chosen,
            steps,
            options,
            source=self._source,
            overrides=self._overrides,
            runner=runner,
            runner_options=runner_options,
        )
        self._loaded = self._agent = None
        return self

    def finetune(
        self,
        task: AnyTask,
        updates: int = 2000,
        steps: int = 0,
        *,
        head: str | None = None,
        start: str = "fresh",
        explore: int = 0,
        runner: str = "local",
        runner_options: Mapping[str, Any] | None = None,
        callback: Callback | Sequence[Callback] = (),
        evaluate_every: int = 0,
        evaluate_episodes: int = 5,
        loggers: Sequence[str] = ("tensorboard",),
        logger_options: Mapping[str, Mapping[str, Any]] | None = None,
        progress: bool = True,
    ) -> Agent:
        """Trains a head for one task on the frozen world: `updates` in imagination, then until it has collected
        `steps` rows. Both are totals of that head. Returns its agent.

        `head` is another kind of head than the task names. A new head begins as `start`: fresh, as the head of that
        name, or (auto) as the one that earns most in imagination; `explore` rows are collected first.
        `runner` is where it trains in imagination. `evaluate_every` counts updates in imagination, rows after.
        """
        from manyheads.api import finetuning

        options = self._options(callback, evaluate_every, evaluate_episodes, loggers, logger_options, progress)
        machine = [each for each in self._overrides if each.partition("=")[0] in MACHINE]
        (name,) = finetuning.finetune(
            self.path,
            [task],
            updates,
            steps,
            options,
            head=head,
            overrides=machine,
            start=start,
            explore=explore,
            runner=runner,
            runner_options=runner_options,
        )
        self._loaded = self._agent = None
        return self.head(name)

    def imagine(
        self,
        tasks: Sequence[AnyTask],
        updates: int = 1000,
        *,
        steps: int = 200,
        runner: str = "local",
        runner_options: Mapping[str, Any] | None = None,
        loggers: Sequence[str] = (),
        progress: bool = True,
    ) -> dict[str, ImaginedPlay]:
        """Trains a head for each of the tasks, all of one environment, as one batch on the frozen world, and plays each
        for `steps` in imagination, under the rewards of all of them. No environment is stepped. A `runner` may train
        the batch in parts.

        The heads stay (`delete_head` takes them away); the same call continues with them.
        """
        from manyheads.api import finetuning

        options = self._options((), 0, 1, loggers, None, progress)
        found = finetuning.imagine(self.path, tasks, updates, options, steps, runner, runner_options)
        self._loaded = self._agent = None
        return found

    def evaluate(
        self, tasks: str | Sequence[str] = (), episodes: int = 10, *, record: bool = True, progress: bool = True
    ) -> list[Evaluation]:
        """Plays heads (all, or those named) and random actions on reserved seeds: two evaluations for each head.

        With `record` they are written into the world's folder, unless what is there has more episodes.
        """
        from manyheads.api.run import RunOptions
        from manyheads.api.scoring import evaluate_heads, keep

        names = [tasks] if isinstance(tasks, str) else [*tasks]
        loaded, total = self._opened(), 2 * episodes * len(names or self.heads)
        with RunOptions(show=progress).progress(total, "evaluating", "episodes") as shown:
            found = evaluate_heads(loaded, names, episodes, shown)
        if record and not self._best:
            keep(self.path, found)
        return found

    def delete_head(self, name: str) -> None:
        """Deletes a head with all that belongs to it; the world model and its experience stay."""
        from manyheads.storage.head_folders import delete_head

        delete_head(self.folder, name)
        self._loaded = self._agent = None

    def copy_head(self, name: str, new: str) -> None:
        """Makes a second head with the task and the weights of the first, to be fine-tuned by itself."""
        from manyheads.storage.head_folders import copy_head

        copy_head(self.folder, name, new)
        self._loaded = self._agent = None

    def rename_head(self, name: str, new: str) -> None:
        """Gives a head another name; runs continue with it under that name."""
        from manyheads.storage.head_folders import rename_head

        rename_head(self.folder, name, new)
        self._loaded = self._agent = None

    def _opened(self) -> LoadedWorld:
        if self._loaded is None:
            self._loaded = LoadedWorld(self.folder, self._best)
        return self._loaded

    def _options(
        self,
        callback: Callback | Sequence[Callback],
        every: int,
        episodes: int,
        loggers: Sequence[str],
        logger_options: Mapping[str, Mapping[str, Any]] | None,
        progress: bool,
    ) -> RunOptions:
        from manyheads.api.run import RunOptions, monitoring

        return RunOptions(monitoring(callback, every, episodes), loggers, dict(logger_options or {}), progress)


def load(path: str | Path, best: bool = False) -> SharedWorld:
    """A trained world: its folder, a pack, or the name of one that comes with manyheads.

    Raises ManyheadsError where it is missing, damaged or newer. What trains is imported where it is used alone.
    With `best`, its agents are the best of the evaluations while they trained, each on the world as it was then.
    """
    world = SharedWorld(world_folder(path).path, best=best)
    world._opened()
    return world


def open_world(path: str | Path, settings: str | Path | None = None, overrides: Sequence[str] = ()) -> SharedWorld:
    """The world at a path, which its first training makes where there is none.

    `settings` is a preset's name or a YAML file and `overrides` are `"training.num_envs=8"`, as `manyheads train` takes
    them: a new world is made with them; an existing one takes other settings of the machine for this time, others of
    learning from now on, and refuses others of its size.
    """
    return SharedWorld(path, settings, overrides)
