"""MiniGrid and BabyAI, as `minigrid/<id>`: grids of rooms, keys and doors, with a named signal for all that matters."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from manyheads.environment.contract import Environment, Options
from manyheads.hookspecs import hookimpl
from manyheads_minigrid.levels import LEVELS, Level
from manyheads_minigrid.signals import declared

if TYPE_CHECKING:
    import gymnasium


class MiniGridOptions(Options):
    """Options of every id."""

    view: Literal["onehot", "codes", "pixels"] = "onehot"
    """what is seen of the grid: an entry a kind, colour and state of each cell, the package's codes, or a picture"""
    agent_view_size: Literal[3, 5, 7, 9, 11, 13, 15] = 7
    """columns and rows that the agent sees ahead of it"""
    image_size: Annotated[int, Field(ge=16, le=512)] = 64
    """side of the picture in pixels, where `view` is pixels"""


@hookimpl
def register_environments(register: Callable[[Environment], None]) -> None:
    for name, level in LEVELS.items():
        register(
            Environment(
                name=f"minigrid/{name}",
                factory=partial(_make, name, level),
                signals=partial(_signals, level),
                options=MiniGridOptions,
                requires=("minigrid",),
                extra="minigrid",
                description=_describe(name, level),
                family="minigrid/levels",
            )
        )


def _make(name: str, level: Level, options: MiniGridOptions) -> "gymnasium.Env[Any, Any]":
    from manyheads_minigrid.simulator import Simulator

    return Simulator(name, level, options)


def _signals(level: Level, options: MiniGridOptions) -> Any:
    return declared(level)


def _describe(name: str, level: Level) -> str:
    acts = ["turn", "walk"]
    acts += [f"pick up and drop a {' or '.join(level.carried)}"] if level.carried else []
    acts += ["open and close doors"] if "door" in level.kinds else []
    cells = f"{level.width} by {level.height} cells with {', '.join(level.kinds)}"
    return f"minigrid's {name}, {cells}; the agent can {', '.join(acts)}"
