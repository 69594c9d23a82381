"""The reward sources that the platform brings: the simulator's own, a user's function, a specification."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from manyheads.errors import ForeignError, ManyheadsError, unknown
from manyheads.imports import load_object
from manyheads.rewards.contract import Labels, RewardKind, Steps
from manyheads.rewards.nodes import Success, signals_of
from manyheads.rewards.spec import RewardSpec, control_names
from manyheads.trust import require_allowed, require_own

if TYPE_CHECKING:
    from torch import Tensor

    from manyheads.environment.contract import Instance


class SourceSettings(BaseModel):
    """What a task file says under `reward`, next to `source`."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SignalSource:
    """A source over signals. Without memory, `earn` says what rows pay; with memory, `advance` does, row by row."""

    reads: Literal["signals", "latents"] = "signals"
    memory_size: int = 0
    signals: frozenset[str]

    def __init__(self, signals: Iterable[str]) -> None:
        self.signals = frozenset(signals)
        self.own_rows_only = "reward" in self.signals

    def earn(self, signals: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """Reward of every row, and where the task itself ends (None: nowhere)."""
        raise NotImplementedError

    def advance(
        self, signals: Mapping[str, Tensor], memory: Tensor, is_first: Tensor
    ) -> tuple[Tensor, Tensor | None, Tensor]:
        """Reward (N,), where the task ends (None: nowhere) and memory (N, M) after one row of N episodes.

        Where `is_first`, `memory` is what `init` gives.
        """
        return *self.earn(signals), memory

    def init(self, n: int) -> Tensor:
        """The memory (n, M) of n episodes that have not begun: zeros."""
        import torch

        return torch.zeros(n, self.memory_size)

    def step(self, signals: Mapping[str, Tensor], memory: Tensor, is_first: Tensor) -> Steps:
        """One row (N,) of each of N episodes, from the memory (N, M) before it."""
        import torch

        columns, _ = _columns(signals, self._read(signals))
        memory = torch.where(is_first[:, None], self.init(len(is_first)).to(memory), memory)
        reward, terminated, memory = self.advance(columns, memory, is_first)
        terminated = torch.zeros_like(is_first) if terminated is None else terminated & ~is_first
        return Steps(torch.where(is_first, 0.0, reward).float(), terminated, memory)

    def unroll(self, signals: Mapping[str, Tensor], is_first: Tensor, memory: Tensor | None = None) -> Steps:
        """`step` over rows (T, ...) that follow one another, from the memory (..., M) before row 0."""
        import torch

        columns, starts, now = self._flat(signals, is_first, memory)
        steps = []
        for t, first in enumerate(starts):
            steps.append(self.step({name: column[t] for name, column in columns.items()}, now, first))
            now = steps[-1].memory
        return self._shaped(is_first, *(torch.stack(part) for part in zip(*steps, strict=True)))

    def label(self, signals: Mapping[str, Any], is_first: Any = None) -> Labels:
        """Labels rows (T, ...), as float32 reward and bool terminated of that shape; axis 0 is time.

        Without `is_first`, row 0 starts an episode. NumPy arrays give NumPy arrays.
        """
        import torch

        columns, numpy = _columns(signals, self._read(signals))
        like = next(iter(columns.values()))
        starts = started(like) if is_first is None else torch.as_tensor(is_first).bool()
        if self.memory_size and not starts.dim():
            raise ManyheadsError("This reward remembers earlier rows; label rows (T, ...), time along axis 0.")
        try:
            reward, terminated, _ = self.unroll(columns, starts)
        except ManyheadsError:
            raise
        except Exception as error:  # whatever a plugin's source raises
            raise ForeignError(f"{type(self).__name__} raised {type(error).__name__}: {error}") from error
        return Labels(reward.numpy(), terminated.numpy()) if numpy else Labels(reward, terminated)

    def _flat(
        self, signals: Mapping[str, Tensor], is_first: Tensor, memory: Tensor | None
    ) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Rows and memory as (T, N) and (N, M); without memory, rows of any shape as (1, N)."""
        columns, _ = _columns(signals, self._read(signals))
        length = len(is_first) if self.memory_size else 1
        starts = is_first.reshape(length, -1)
        if memory is None or not self.memory_size:
            memory = self.init(starts.shape[1]).to(starts.device)
        flat = {name: column.reshape(length, -1) for name, column in columns.items()}
        return flat, starts, memory.reshape(-1, self.memory_size) if self.memory_size else memory

    def _shaped(self, like: Tensor, reward: Tensor, terminated: Tensor, memory: Tensor) -> Steps:
        """Results (T, N) in the shape that the rows came in."""
        shape = (*like.shape, self.memory_size)
        return Steps(reward.view(like.shape), terminated.view(like.shape), memory.reshape(shape))

    def _read(self, signals: Mapping[str, Any]) -> frozenset[str]:
        return self.signals


class EnvironmentReward(SignalSource):
    """The simulator's own reward: the signal `reward`."""

    def __init__(self) -> None:
        super().__init__({"reward"})

    def earn(self, signals: Mapping[str, Tensor]) -> tuple[Tensor, None]:
        return signals["reward"], None


class SpecSource(SignalSource):
    """A reward specification over signals.

    `controls` are the `control[i]` of an effort, where known; `step_seconds` is what rates need to know.
    """

    def __init__(self, spec: RewardSpec, controls: Iterable[str] = (), step_seconds: float | None = None) -> None:
        super().__init__(spec.signals | frozenset(controls if spec.effort is not None else ()))
        self.spec, self.memory_size, self.step_seconds = spec, spec.memory_size, step_seconds

    def step(self, signals: Mapping[str, Tensor], memory: Tensor, is_first: Tensor) -> Steps:
        """One row (N,) of each of N episodes, from the memory (N, M) before it."""
        one = {name: column[None] for name, column in signals.items()}
        return Steps(*(part[0] for part in self.unroll(one, is_first[None], memory)))

    def unroll(self, signals: Mapping[str, Tensor], is_first: Tensor, memory: Tensor | None = None) -> Steps:
        """`step` over rows (T, ...), all at once."""
        from manyheads.rewards import memory as over_time

        columns, starts, before = self._flat(signals, is_first, memory)
        run = over_time.Run(starts, restarts(starts, memory is None), self.step_seconds)
        reward, terminated, after = over_time.unroll(self.spec, columns, run, before)
        return self._shaped(is_first, reward.masked_fill(starts, 0).float(), terminated & ~starts, after)

    def success(self, signals: Mapping[str, Any], is_first: Any = None, time: int = 0) -> Any:
        """Where an episode has just been succeeding for `held_for` rows; see `successes`."""
        if self.spec.success is None:
            raise ManyheadsError("This specification does not define success; add `success: {when: …}`.")
        return successes(self.spec.success, signals, is_first, time, self.step_seconds)

    def _read(self, signals: Mapping[str, Any]) -> frozenset[str]:
        return self.signals | frozenset(control_names(signals) if self.spec.effort is not None else ())


class PythonReward(SignalSource):
    """A user's function of signals: `f({name: tensor})` gives reward, or (reward, terminated)."""

    def __init__(self, function: Callable[..., Any], signals: Iterable[str], name: str) -> None:
        super().__init__(signals)
        self.function = function
        self.name = name

    def earn(self, signals: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        shape = next(iter(signals.values())).shape
        try:
            result = self.function({name: column.clone() for name, column in signals.items()})
        except Exception as error:
            raise ForeignError(f"Reward function {self.name} raised {type(error).__name__}: {error}") from error
        reward, terminated = result if isinstance(result, tuple) and len(result) == 2 else (result, None)
        reward = self._checked("reward", reward, shape)
        if not bool(reward.isfinite().all()):
            raise ForeignError(f"Reward function {self.name} returned a reward that is not finite.")
        return reward, None if terminated is None else self._checked("terminated", terminated, shape).bool()

    def _checked(self, what: str, value: Any, shape: Any) -> Tensor:
        import torch

        if isinstance(value, torch.Tensor) and value.shape == shape:
            return value.detach()
        got = f"shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
        raise ForeignError(
            f"Reward function {self.name} must return {what} as a tensor of shape {tuple(shape)}, "
            f"the shape of each signal; it returned {got}."
        )


def started(rows: Tensor) -> Tensor:
    """`is_first` where none is given: row 0 along axis 0 starts an episode; a scalar row starts none."""
    is_first = rows.new_zeros(rows.shape).bool()
    if is_first.dim():
        is_first[0] = True
    return is_first


def restarts(is_first: Tensor, unknown_before: bool) -> Tensor:
    """Rows (T, N) before which nothing is known: those that start an episode, and perhaps row 0."""
    restart = is_first.clone()
    restart[:1] |= unknown_before
    return restart


def successes(
    success: Success,
    signals: Mapping[str, Any],
    is_first: Any = None,
    time: int = 0,
    step_seconds: float | None = None,
) -> Any:
    """Where an episode has just been succeeding for `held_for` rows in a row, bool, of the signals' shape.

    `time` is the dimension along which rows follow one another; without `is_first` its row 0 starts an episode. Rows
    that start an episode don't count. Rates need `step_seconds`. NumPy arrays give NumPy arrays.
    """
    import torch

    from manyheads.rewards import memory as over_time

    columns, numpy = _columns(signals, signals_of(success))
    along = {name: column.movedim(time, 0) for name, column in columns.items()}
    like = next(iter(along.values()))
    starts = started(like) if is_first is None else torch.as_tensor(is_first).bool().movedim(time, 0)
    flat = {name: column.reshape(len(like), -1) for name, column in along.items()}
    one = starts.reshape(len(like), -1)
    run = over_time.Run(one, restarts(one, True), step_seconds)
    result = over_time.successes(success, flat, run).view_as(starts).movedim(0, time)
    return result.numpy() if numpy else result


def episode_succeeded(success: Success, signals: Mapping[str, Any], step_seconds: float | None = None) -> bool:
    """Whether one episode's rows, each signal (T,), ever succeed; row 0 is its start."""
    return bool(successes(success, signals, step_seconds=step_seconds).any())


def load_spec(path: str | Path, step_seconds: float | None = None) -> SpecSource:
    """The reward source of a specification file, or of a task file that holds one; YAML or JSON.

    A specification with rates needs `step_seconds`, the simulated time of a row.
    """
    from manyheads.rewards.validate import read_spec

    return SpecSource(read_spec(Path(path)), step_seconds=step_seconds)


# --- kinds ----------------------------------------------------------------------------------------------


class PythonSettings(SourceSettings):
    """A function by import path and the signals that it reads."""

    function: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]
    """`package.module:name`"""
    signals: Annotated[list[str], Field(min_length=1)]


class SpecSettings(SourceSettings):
    """A reward specification, written out in the task file."""

    spec: RewardSpec


def _build_environment(settings: SourceSettings, instance: Instance) -> EnvironmentReward:
    return EnvironmentReward()


def _build_python(settings: PythonSettings, instance: Instance) -> PythonReward:
    known = {signal.name for signal in instance.signals}
    for name in settings.signals:
        if name not in known:
            raise unknown(f"signal of {instance.environment.name}", name, known)
    return PythonReward(_import(settings.function), settings.signals, settings.function)


def _import(path: str) -> Callable[..., Any]:
    module, what = path.partition(":")[0], f"reward function {path}"
    require_allowed(module, what)
    function = load_object(path, object, "reward function")
    require_own(function, module, what)
    if not callable(function):
        raise ManyheadsError(f"The reward function at {path!r} is {function!r}, which can't be called.")
    return function


def _build_spec(settings: SpecSettings, instance: Instance) -> SpecSource:
    from manyheads.rewards.validate import require_sound

    require_sound(settings.spec, instance)
    controls = control_names([signal.name for signal in instance.signals])
    return SpecSource(settings.spec, controls, instance.step_seconds)


ENVIRONMENT = RewardKind("environment", SourceSettings, _build_environment, "the simulator's own reward")
PYTHON = RewardKind("python", PythonSettings, _build_python, "a Python function of signals, by import path")
SPEC = RewardKind("spec", SpecSettings, _build_spec, "a reward specification: data over signals, no code")
KINDS = (ENVIRONMENT, PYTHON, SPEC)


def _columns(signals: Mapping[str, Any], names: Iterable[str]) -> tuple[dict[str, Tensor], bool]:
    """The named signals as tensors of one shape, and whether they came as something else."""
    import numpy as np
    import torch

    columns, numpy = {}, False
    for name in sorted(names):
        if name not in signals:
            known = unknown("signal", name, signals)
            raise ManyheadsError(f"{known} This reward reads {', '.join(sorted(names))}.")
        column = signals[name]
        if not isinstance(column, torch.Tensor):
            column, numpy = torch.tensor(np.asarray(column)), True
        columns[name] = column
    shapes = {name: tuple(column.shape) for name, column in columns.items()}
    if len(set(shapes.values())) > 1:
        raise ManyheadsError(f"All signals must have one shape; these differ: {shapes}.")
    return columns, numpy
