"""The reward sources that the platform brings: the simulator's own, a user's function, a specification."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from manyheads.errors import ManyheadsError, unknown
from manyheads.imports import load_object
from manyheads.rewards.contract import Labels, RewardKind
from manyheads.rewards.spec import RewardSpec, Success, control_names, signals_of

if TYPE_CHECKING:
    from torch import Tensor

    from manyheads.environment.contract import Instance


class SourceSettings(BaseModel):
    """What a task file says under `reward`, beside `source`."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SignalSource:
    """A source without memory over signals: `earn` says what rows pay, `label` what holds for all sources."""

    reads: Literal["signals"] = "signals"
    memory: Literal["none"] = "none"
    signals: frozenset[str]

    def __init__(self, signals: Iterable[str]) -> None:
        self.signals = frozenset(signals)
        self.own_rows_only = "reward" in self.signals

    def earn(self, signals: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        """Reward of every row, and where the task itself ends (None: nowhere)."""
        raise NotImplementedError

    def label(self, signals: Mapping[str, Any], is_first: Any = None) -> Labels:
        """Labels rows of any one shape, as float32 reward and bool terminated of that shape.

        Without `is_first`, axis 0 is time and row 0 starts an episode. NumPy arrays give NumPy arrays.
        """
        import torch

        from manyheads.rewards.compile import started

        columns, numpy = _columns(signals, self._read(signals))
        shape = next(iter(columns.values())).shape
        reward, terminated = self.earn(columns)
        starts = started(shape, reward.device) if is_first is None else torch.as_tensor(is_first).bool()
        reward = torch.where(starts, 0.0, reward).float()
        terminated = torch.zeros_like(starts) if terminated is None else terminated & ~starts
        return Labels(reward.numpy(), terminated.numpy()) if numpy else Labels(reward, terminated)

    def _read(self, signals: Mapping[str, Any]) -> frozenset[str]:
        return self.signals


class EnvironmentReward(SignalSource):
    """The simulator's own reward: the signal `reward`."""

    def __init__(self) -> None:
        super().__init__({"reward"})

    def earn(self, signals: Mapping[str, Tensor]) -> tuple[Tensor, None]:
        return signals["reward"], None


class SpecSource(SignalSource):
    """A reward specification over signals; `controls` are the `control[i]` of an effort, where known."""

    def __init__(self, spec: RewardSpec, controls: Iterable[str] = ()) -> None:
        super().__init__(spec.signals | frozenset(controls if spec.effort is not None else ()))
        self.spec = spec

    def earn(self, signals: Mapping[str, Tensor]) -> tuple[Tensor, None]:
        from manyheads.rewards.compile import reward

        return reward(self.spec, signals), None

    def success(self, signals: Mapping[str, Any], is_first: Any = None, time: int = 0) -> Any:
        """Where an episode has just been succeeding for `held_for` rows; see `successes`."""
        if self.spec.success is None:
            raise ManyheadsError("This specification says nothing about success; add `success: {when: …}`.")
        return successes(self.spec.success, signals, is_first, time)

    def _read(self, signals: Mapping[str, Any]) -> frozenset[str]:
        return self.signals | frozenset(control_names(signals) if self.spec.effort is not None else ())


class PythonReward(SignalSource):
    """A user's function of signals: `f({name: tensor})` gives reward, or (reward, terminated)."""

    def __init__(self, function: Callable[..., Any], signals: Iterable[str], name: str) -> None:
        super().__init__(signals)
        self.function = function
        self.name = name

    def earn(self, signals: Mapping[str, Tensor]) -> tuple[Tensor, Tensor | None]:
        try:
            result = self.function(dict(signals))
        except Exception as error:
            raise ManyheadsError(f"Reward function {self.name} raised {type(error).__name__}: {error}") from error
        reward, terminated = result if isinstance(result, tuple) and len(result) == 2 else (result, None)
        shape = next(iter(signals.values())).shape
        reward = self._checked("reward", reward, shape)
        if not bool(reward.isfinite().all()):
            raise ManyheadsError(f"Reward function {self.name} returned a reward that is not finite.")
        return reward, None if terminated is None else self._checked("terminated", terminated, shape).bool()

    def _checked(self, what: str, value: Any, shape: Any) -> Tensor:
        import torch

        if isinstance(value, torch.Tensor) and value.shape == shape:
            return value.detach()
        got = f"shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
        raise ManyheadsError(
            f"Reward function {self.name} must return {what} as a tensor of shape {tuple(shape)}, "
            f"the shape of each signal; it returned {got}."
        )


def successes(success: Success, signals: Mapping[str, Any], is_first: Any = None, time: int = 0) -> Any:
    """Where an episode has just been succeeding for `held_for` rows in a row, bool, of the signals' shape.

    `time` is the dimension along which rows follow one another; without `is_first` its row 0 starts an episode.
    Start rows themselves don't count. NumPy arrays give NumPy arrays.
    """
    import torch

    from manyheads.rewards import compile as compiled

    columns, numpy = _columns(signals, signals_of(success))
    starts = None if is_first is None else torch.as_tensor(is_first)
    result = compiled.success(success, columns, starts, time)
    return result.numpy() if numpy else result


def episode_succeeded(success: Success, signals: Mapping[str, Any]) -> bool:
    """Whether one episode's rows, each signal (T,), ever succeed; row 0 is its start."""
    return bool(successes(success, signals).any())


def load_spec(path: str | Path) -> SpecSource:
    """The reward source of a specification file, or of a task file that holds one; YAML or JSON."""
    from manyheads.rewards.validate import read_spec

    return SpecSource(read_spec(Path(path)))


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
    function = load_object(path, object, "reward function")
    if not callable(function):
        raise ManyheadsError(f"The reward function at {path!r} is {function!r}, which can't be called.")
    return function


def _build_spec(settings: SpecSettings, instance: Instance) -> SpecSource:
    from manyheads.rewards.validate import require_sound

    require_sound(settings.spec, instance)
    return SpecSource(settings.spec, control_names([signal.name for signal in instance.signals]))


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
