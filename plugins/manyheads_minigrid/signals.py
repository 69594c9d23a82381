"""The signals of a level: where the agent is, what it carries and faces, where the nearest object of each kind is."""

from functools import cache

from manyheads.environment.contract import Signal
from manyheads_minigrid.levels import COLORS, Level

DIRECTIONS = ("right", "down", "left", "up")
"""in minigrid's order"""
ONE = {"goal": "the goal", "lava": "lava"}
"""kinds that are not spoken of as `a key` and `the nearest key`"""


@cache
def declared(level: Level) -> tuple[Signal, ...]:
    """All signals of a level, in the order in which `measures.Meter` gives them."""
    across, down = level.width - 2, level.height - 2
    rows = [
        Signal(
            "agent_x",
            low=1,
            high=across,
            description="columns of the agent from the left wall; greater is right",
        ),
        Signal("agent_y", low=1, high=down, description="rows of the agent from the upper wall; greater is down"),
        *(_boolean(f"facing_{way}", f"the agent looks {way}") for way in DIRECTIONS),
    ]
    if level.carried:
        rows.append(_boolean("carrying", "the agent carries something"))
        rows += [_boolean(f"carrying_{kind}", f"the agent carries a {kind}") for kind in level.carried]
        rows += [_boolean(f"carrying_{color}", f"what the agent carries is {color}") for color in COLORS]
    for kind in level.kinds:
        rows += _nearest(kind, kind in level.carried, across, down)
    if {"key", "ball", "box", "door"} & set(level.kinds):
        rows += [
            _boolean(f"facing_{color}", f"the object in the cell ahead of the agent is {color}") for color in COLORS
        ]
    if "door" in level.kinds:
        rows += [
            _boolean("door_open", "a door is open"),
            _boolean("door_locked", "a door is locked"),
        ]
    return (
        *rows,
        _boolean("success", "this step completed the environment's own mission"),
        Signal("steps", "steps", low=0, description="steps since the episode began"),
    )


def _nearest(kind: str, carried: bool, across: int, down: int) -> list[Signal]:
    one, what = ONE.get(kind, f"a {kind}"), ONE.get(kind, f"the nearest {kind}")
    return [
        _boolean(f"{kind}_present", f"{one} is in the grid{' or carried' if carried else ''}"),
        Signal(
            f"{kind}_offset_x",
            low=-across,
            high=across,
            description=f"columns from the agent to {what}, to the right; negative is left; 0 where there is none",
        ),
        Signal(
            f"{kind}_offset_y",
            low=-down,
            high=down,
            description=f"rows from the agent to {what}, downward; negative: it is above; 0 where there is none",
        ),
        Signal(
            f"{kind}_distance",
            low=0,
            high=across + down,
            description=f"columns and rows to {what}; 1 is next to it, 0 {'carrying' if carried else 'on'} it, "
            f"{across + down} where there is none",
        ),
        _boolean(f"facing_{kind}", f"{one} is in the cell ahead of the agent"),
    ]


def _boolean(name: str, holds: str) -> Signal:
    return Signal(name, kind="boolean", low=0, high=1, description=f"1 if {holds}, else 0")
