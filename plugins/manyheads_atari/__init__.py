"""Atari 2600 games through ale-py: one environment a game, `atari/<Game>`, with signals read from its memory."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from manyheads.environment.contract import Environment, Signal
from manyheads.hookspecs import hookimpl
from manyheads_atari.games import GAMES, AtariOptions

if TYPE_CHECKING:
    import gymnasium


@hookimpl
def register_environments(register: Callable[[Environment], None]) -> None:
    for name, rom in GAMES.items():
        register(
            Environment(
                name=f"atari/{name}",
                factory=partial(_make, name, rom),
                signals=partial(_signals, rom),
                options=AtariOptions,
                reset_only_options=frozenset({"protocol", "noops"}),
                episode_steps=_episode_steps,
                requires=("ale_py",),
                extra="atari",
                description=f"the Atari 2600 game {rom.replace('_', ' ')}",
            )
        )


def _make(name: str, rom: str, options: AtariOptions) -> "gymnasium.Env[Any, Any]":
    from manyheads_atari.simulator import Simulator

    return Simulator(name, rom, options)


def _episode_steps(options: AtariOptions) -> int:
    return -(-options.max_frames // options.frame_skip)


def _signals(rom: str, options: AtariOptions) -> tuple[Signal, ...]:
    from manyheads_atari.annotations import ANNOTATIONS
    from manyheads_atari.memory import common_signals

    return (*common_signals(options.max_frames), *(cell.signal for cell in ANNOTATIONS.get(rom, ())))
