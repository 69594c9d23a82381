"""Reading a game's memory: what a byte of the console's 128 description, as a table of its 256 values."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from manyheads.environment.contract import Signal, Unit

WIDTH, HEIGHT = 160, 210


@dataclass(frozen=True)
class Cell:
    """A signal, the byte that it is read from, and what each value of that byte means."""

    signal: Signal
    address: int
    decode: Callable[[int], float]


def common_signals(max_frames: int) -> tuple[Signal, ...]:
    """What every game measures."""
    return (
        Signal("score", "points", description="points made in this episode so far; an opponent's count against it"),
        Signal("lives", "count", "discrete", 0.0, 255.0, "lives left, as the game counts them; 0 where it has none"),
        Signal("frame", "count", "discrete", 0.0, float(max_frames), "frames of the game since the episode began"),
    )


def x(name: str, address: int, offset: float, description: str, scale: float = 1.0) -> Cell:
    """Where a thing's left edge lies on the screen: `scale` pixels a unit of the byte, and `offset`."""
    return _position(
        name, address, lambda byte: scale * byte + offset, WIDTH, f"{description}: pixels right of the left edge"
    )


def y(name: str, address: int, offset: float, description: str, scale: float = 1.0) -> Cell:
    """Where a thing's top edge lies on the screen; a negative scale is a byte that counts upwards."""
    return _position(name, address, lambda byte: scale * byte + offset, HEIGHT, f"{description}: pixels below the top")


def packed_x(name: str, address: int, offset: float, description: str) -> Cell:
    """An x that is kept as the console's chip wants it: 15 pixels a unit of the low four bits, less the high four,
    signed."""

    def decode(byte: int) -> float:
        fine = byte >> 4
        return 15 * (byte & 15) - (fine - 16 if fine > 7 else fine) + offset

    return _position(name, address, decode, WIDTH, f"{description}: pixels right of the left edge")


def count(
    name: str, address: int, description: str, unit: Unit = "count", decode: Callable[[int], float] = float
) -> Cell:
    """A number that the byte holds as it is, or as `decode` reads it."""
    values = [decode(byte) for byte in range(256)]
    return Cell(Signal(name, unit, "discrete", min(values), max(values), description), address, decode)


def bcd(byte: int) -> float:
    """Two decimal digits, one in each half of the byte."""
    return 10 * min(byte >> 4, 9) + min(byte & 15, 9)


def _position(name: str, address: int, decode: Callable[[int], float], most: int, description: str) -> Cell:
    return Cell(
        Signal(name, "px", "continuous", 0.0, float(most), description),
        address,
        lambda byte: min(max(decode(byte), 0.0), float(most)),
    )


class Meter:
    """Reads all cells of a game from its memory at once."""

    def __init__(self, cells: Sequence[Cell]) -> None:
        self._names = [cell.signal.name for cell in cells]
        self._addresses = np.array([cell.address for cell in cells], np.intp)
        self._values = np.array([[cell.decode(byte) for byte in range(256)] for cell in cells]).reshape(-1, 256)
        self._rows = np.arange(len(cells))

    def __call__(self, memory: npt.NDArray[np.uint8]) -> dict[str, float]:
        values = self._values[self._rows, memory[self._addresses]]
        return dict(zip(self._names, values.tolist(), strict=True))
