"""Checks for plugins' own tests: each raises AssertionError naming the promise that is not kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from manyheads.environment.adapter import FlatEnv, Observation
from manyheads.environment.contract import Instance, Signal
from manyheads.errors import ManyheadsError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pydantic import BaseModel

    from manyheads.heads.kind import HeadKind
    from manyheads.rewards.contract import RewardSource

SOFT = 0.5
"""by what share of its width a soft range may be passed"""


def check_environment(instance: Instance, *, seed: int = 0, steps: int = 100) -> None:
    """Plays some episodes of an instance and checks its promises.

    Spaces fit and hold what is observed; flags are honest; signals declared are signals measured, in range,
    with reward 0 at a start and `control[i]` the input that led to the row; observations are new arrays, on
    time; one seed gives one episode, in a fresh environment and after another episode. What training refuses fails here
    in the same words.
    """
    try:
        _check_environment(instance, seed, steps)
    except ManyheadsError as error:
        raise AssertionError(str(error)) from error


def _check_environment(instance: Instance, seed: int, steps: int) -> None:
    _check_declared(instance.signals)
    env = FlatEnv(instance.make(), instance.signals)
    again = FlatEnv(instance.make(), instance.signals)
    try:
        first = _play(env, instance, seed, steps)
        _check_on_time(env, instance, seed)
        for other, where in ((again, "in a fresh environment"), (env, "after other episodes")):
            for t, (row, same) in enumerate(zip(first, _play(other, instance, seed, steps), strict=False)):
                _require(
                    instance,
                    _equal(row, same),
                    f"row {t} differs {where} under one seed and the same actions",
                )
    finally:
        env.close()
        again.close()


def check_reward_source(source: RewardSource, signals: Sequence[Signal], *, seed: int = 0) -> None:
    """Labels made-up rows within the signals' ranges and checks a reward source's promises.

    Labels have the rows' shape, are finite, and repeat; rows that start an episode earn nothing; NumPy arrays
    give NumPy arrays; what is given is not written into; a row's labels hang on that row alone.
    """
    from manyheads.rewards.check_source import check_reward_source

    check_reward_source(source, signals, seed)


def check_head(kind: HeadKind, settings: BaseModel | None = None, *, seed: int = 0) -> None:
    """Builds a kind of head on small worlds with continuous, discrete and both kinds of actions, and checks it.

    Actions are finite, one-hot where they choose, zero where the instance has no such place, and repeat under one
    generator; losses are finite scalars that repeat, do not hear of rows that the head does not own, and reach
    the head's parameters, not the frozen world's. Interfaces that `build` refuses with ManyheadsError are left out.
    """
    from manyheads.heads.check_kind import check_head_kind

    check_head_kind(kind, settings, seed)


class _Row(NamedTuple):
    observation: Observation
    is_last: bool
    is_terminal: bool


def _play(env: FlatEnv, instance: Instance, seed: int, steps: int) -> list[_Row]:
    rng = np.random.default_rng(seed)
    observation = _reset(env, instance, seed)
    _check_row(instance, observation, None)
    rows = [_Row(observation, False, False)]
    for step in range(steps):
        action = rng.uniform(-1.2, 1.2, env.layout.action_size).astype(np.float32)
        kept = [None if part is None else part.copy() for part in rows[-1].observation]
        native, reward, terminated, truncated, info = env.env.step(env.act(action))
        observation = env.row(native, info)
        _require(instance, env.env.observation_space.contains(native), f"observation {step} lies outside its space")
        _require(instance, info["signals"]["reward"] == reward, "the signal reward is not the step's reward")
        _check_row(instance, observation, np.clip(action[: len(env.layout.continuous)], -1, 1))
        for part, before in zip(rows[-1].observation, kept, strict=True):
            unchanged = part is None or before is None or np.array_equal(part, before)
            _require(instance, unchanged, "a step writes into the observation before it; give a new array")
        rows.append(_Row(observation, terminated or truncated, terminated))
        if rows[-1].is_last:
            break
    return rows


def _reset(env: FlatEnv, instance: Instance, seed: int) -> Observation:
    native, info = env.env.reset(seed=seed)
    observation = env.row(native, info)
    _require(instance, env.env.observation_space.contains(native), "the first observation lies outside its space")
    _require(instance, observation.signals[0] == 0.0, "a row that starts an episode has reward 0")
    return observation


def _check_on_time(env: FlatEnv, instance: Instance, seed: int) -> None:
    """A simulator that shows each observation one row late repeats the first one, whatever is done."""
    moved_at = set()
    for attempt in range(8):
        rng = np.random.default_rng(attempt)
        rows = [_reset(env, instance, seed + attempt)]
        for _ in range(2):
            observation, last, _ = env.step(rng.uniform(-1, 1, env.layout.action_size).astype(np.float32))
            rows.append(observation)
            if last:
                break
        moved_at |= {t for t in range(1, len(rows)) if not _same_view(rows[t], rows[t - 1])}
        if 1 in moved_at:
            break
    _require(instance, moved_at != {2}, "observations come one row late: the first step shows the start again")


def _check_declared(signals: tuple[Signal, ...]) -> None:
    for signal in signals:
        assert signal.description, f"signal {signal.name!r} has no sentence that says what it measures"
        low, high = _tolerated(signal)
        assert signal.kind != "angle" or signal.unit == "rad", f"signal {signal.name!r} is an angle in {signal.unit!r}"
        assert low < high, f"signal {signal.name!r} has the range ({signal.low}, {signal.high})"


def _check_row(instance: Instance, row: Observation, inputs: NDArray[np.float32] | None) -> None:
    for signal, value in zip(instance.signals, row.signals.tolist(), strict=True):
        low, high = _tolerated(signal)
        what = f"signal {signal.name!r} is {value}"
        _require(instance, low <= value <= high, f"{what}, outside [{signal.low}, {signal.high}]")
        if signal.kind in ("boolean", "discrete"):
            _require(instance, value == round(value), f"{what}, but its kind is {signal.kind}")
        if signal.name.startswith("control["):
            _check_control(instance, signal, value, inputs)


def _check_control(instance: Instance, signal: Signal, value: float, inputs: NDArray[np.float32] | None) -> None:
    number = int(signal.name[len("control[") : -1])
    if inputs is None:
        _require(instance, value == 0.0, f"{signal.name} is {value} where an episode starts; nothing has acted")
    elif number < len(inputs) and signal.low is not None and signal.high is not None:
        led_here = signal.low + (float(inputs[number]) + 1) / 2 * (signal.high - signal.low)
        _require(
            instance,
            abs(value - led_here) < 1e-5,
            f"{signal.name} is {value} after the input {led_here}; it holds the input that led to its row",
        )


def _tolerated(signal: Signal) -> tuple[float, float]:
    low = -np.inf if signal.low is None else signal.low
    high = np.inf if signal.high is None else signal.high
    slack = 1e-6
    if signal.soft and np.isfinite(high - low):
        slack = SOFT * (high - low)
    return low - slack, high + slack


def _equal(one: _Row, other: _Row) -> bool:
    same = np.array_equal(one.observation.signals, other.observation.signals)
    return same and _same_view(one.observation, other.observation) and one[1:] == other[1:]


def _same_view(one: Observation, other: Observation) -> bool:
    pairs: Iterator[tuple[Any, Any]] = zip(one[:2], other[:2], strict=True)
    return all(a is b if a is None or b is None else np.array_equal(a, b) for a, b in pairs)


def _require(instance: Instance, holds: bool, problem: str) -> None:
    assert holds, f"{instance.key}: {problem}"
