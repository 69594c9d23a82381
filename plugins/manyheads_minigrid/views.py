"""What is seen of the grid: one-hot entries, codes or a picture; cells lie as in the picture, the agent looks up."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX, STATE_TO_IDX
from minigrid.core.grid import Grid
from PIL import Image

Pixels = npt.NDArray[np.uint8]
Codes = npt.NDArray[np.uint8]
"""(rows, columns, 3): object, colour and state of each cell, row 0 farthest from the agent"""

SEEN = {name: code for name, code in OBJECT_TO_IDX.items() if name != "agent"}
"""The agent never sees itself: what it carries is shown in its cell."""


class OneHot:
    """A plane (rows, columns) of 0 and 1 for each object, colour and state.

    Colours are told of objects alone and states of doors alone, so all of an empty cell is its `empty`.
    """

    def __init__(self, size: int, side: int) -> None:
        names = (*SEEN, *COLOR_TO_IDX, *STATE_TO_IDX)
        self.key = f"view{size}x{size}"
        self.size = size
        self.space = spaces.Dict({name: spaces.MultiBinary((size, size)) for name in names})

    def observe(self, grid: Any, codes: Codes) -> dict[str, npt.NDArray[np.int8]]:
        objects, colors, states = np.moveaxis(codes, -1, 0)
        thing, door = objects > SEEN["empty"], objects == SEEN["door"]
        planes = {name: objects == code for name, code in SEEN.items()}
        planes |= {name: thing & (colors == code) for name, code in COLOR_TO_IDX.items()}
        planes |= {name: door & (states == code) for name, code in STATE_TO_IDX.items()}
        return {name: plane.astype(np.int8) for name, plane in planes.items()}

    def codes(self, numbers: npt.NDArray[np.floating]) -> Codes:
        """The likeliest codes for numbers as observed, or as a world imagines them."""
        planes = dict(zip(self.space, numbers.reshape(-1, self.size, self.size), strict=True))
        tables = (SEEN, COLOR_TO_IDX, STATE_TO_IDX)
        return np.stack([np.argmax([planes[name] for name in table], 0) for table in tables], -1).astype(np.uint8)


class Coded:
    """The package's own codes: a plane (rows, columns) of numbers for objects, one for colours, one for states."""

    tables = {"object": OBJECT_TO_IDX, "color": COLOR_TO_IDX, "state": STATE_TO_IDX}  # noqa: RUF012

    def __init__(self, size: int, side: int) -> None:
        self.key = f"codes{size}x{size}"
        self.size = size
        self.space = spaces.Dict(
            {name: spaces.Box(0, max(table.values()), (size, size), np.uint8) for name, table in self.tables.items()}
        )

    def observe(self, grid: Any, codes: Codes) -> dict[str, Codes]:
        return {name: codes[..., place].copy() for place, name in enumerate(self.tables)}

    def codes(self, numbers: npt.NDArray[np.floating]) -> Codes:
        planes = dict(zip(self.space, numbers.reshape(-1, self.size, self.size), strict=True))
        rounded = [np.clip(np.rint(planes[name]), 0, max(table.values())) for name, table in self.tables.items()]
        return np.stack(rounded, -1).astype(np.uint8)


class Picture:
    """The package's picture of what the agent sees, (side, side, 3)."""

    key = "image"

    def __init__(self, size: int, side: int) -> None:
        self.size, self.side = size, side
        self.space = spaces.Box(0, 255, (side, side, 3), np.uint8)

    def observe(self, grid: Any, codes: Codes) -> Pixels:
        drawn = Image.fromarray(grid.get_pov_render(-(-self.side // self.size)))
        return np.array(drawn.resize((self.side, self.side), Image.Resampling.BILINEAR))


VIEWS: dict[str, type[OneHot] | type[Coded] | type[Picture]] = {"onehot": OneHot, "codes": Coded, "pixels": Picture}
"""By the option `view`; each is made of the cells in view a side, and the pixels a side where it is a picture."""


def draw(codes: Codes, tile: int) -> Pixels:
    """The picture of codes, `tile` pixels a cell, as minigrid draws what an agent sees."""
    size = len(codes)
    grid, seen = Grid.decode(codes.swapaxes(0, 1))
    return np.asarray(grid.render(tile, (size // 2, size - 1), agent_dir=3, highlight_mask=seen), np.uint8)
