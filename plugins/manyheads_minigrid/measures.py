"""Reads a level's signals from minigrid's own state, in one pass over its grid."""

from __future__ import annotations

from typing import Any

from manyheads_minigrid.levels import COLORS, Level
from manyheads_minigrid.signals import DIRECTIONS, declared


class Meter:
    """Gives a value for every declared signal of a level; `grid` is minigrid's environment."""

    def __init__(self, level: Level, grid: Any) -> None:
        self.level, self.grid = level, grid
        self._names = frozenset(signal.name for signal in declared(level))

    def __call__(self, reward: float) -> dict[str, float]:
        grid, level = self.grid, self.level
        x, y = (int(place) for place in grid.agent_pos)
        ahead = grid.grid.get(*grid.front_pos)
        values: dict[str, float] = {"agent_x": x, "agent_y": y, "success": reward > 0, "steps": grid.step_count}
        for number, way in enumerate(DIRECTIONS):
            values[f"facing_{way}"] = grid.agent_dir == number
        for color in COLORS:
            values[f"facing_{color}"] = ahead is not None and ahead.type != "wall" and ahead.color == color
            values[f"carrying_{color}"] = grid.carrying is not None and grid.carrying.color == color
        values["carrying"] = grid.carrying is not None
        found = self._objects(x, y)
        doors = [cell for _, _, cell in found.get("door", ())]
        values["door_open"] = any(door.is_open for door in doors)
        values["door_locked"] = any(door.is_locked for door in doors)
        for kind in level.kinds:
            places = found.get(kind, [])
            right, down = min((place[:2] for place in places), key=_steps, default=(0, 0))
            values[f"{kind}_present"] = bool(places)
            values[f"{kind}_offset_x"], values[f"{kind}_offset_y"] = right, down
            values[f"{kind}_distance"] = _steps((right, down)) if places else level.width + level.height - 4
            values[f"facing_{kind}"] = ahead is not None and ahead.type == kind
            values[f"carrying_{kind}"] = grid.carrying is not None and grid.carrying.type == kind
        return {name: float(value) for name, value in values.items() if name in self._names}

    def _objects(self, x: int, y: int) -> dict[str, list[tuple[int, int, Any]]]:
        """By kind: columns right and rows down from the agent, and the object; what is carried lies at 0, 0."""
        found: dict[str, list[tuple[int, int, Any]]] = {}
        for place, cell in enumerate(self.grid.grid.grid):
            if cell is not None and cell.type != "wall":
                down, right = divmod(place, self.level.width)
                found.setdefault(cell.type, []).append((right - x, down - y, cell))
        if self.grid.carrying is not None:
            found.setdefault(self.grid.carrying.type, []).append((0, 0, self.grid.carrying))
        return found


def _steps(offset: tuple[int, int]) -> int:
    return abs(offset[0]) + abs(offset[1])
