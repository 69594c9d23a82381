"""Does a byte of a game's memory say what its annotation says? Six checks against pictures and points."""

from dataclasses import dataclass

import ale_py
import numpy as np

from manyheads_atari.simulator import _load

EDGE = 8
"""by how many pixels a thing's edge may miss the place that is declared (poses differ in outline)"""


@dataclass
class Play:
    """Screens, memory and points of a random player, and some states along the way."""

    ale: ale_py.ALEInterface
    screens: np.ndarray
    memory: np.ndarray
    points: np.ndarray
    states: list


def play(rom: str, frames: int = 3600, every: int = 6, seed: int = 0) -> Play:
    """Random actions, ten frames each, after a second without any."""
    ale, rng = _load(rom, rom), np.random.default_rng(seed)
    joystick = ale.getMinimalActionSet()
    ale.reset_game()
    for _ in range(60):
        ale.act(0)
    screens, memory, points, states, total = [], [], [], [], 0.0
    for t in range(frames):
        if t % 10 == 0:
            action = joystick[rng.integers(len(joystick))]
        total += ale.act(action)
        if ale.game_over():
            ale.reset_game()
        if t % every == 0:
            screens.append(ale.getScreen())
            memory.append(ale.getRAM())
            points.append(total)
        if t % (frames // 8) == frames // 16:
            states.append(ale.cloneState(include_rng=True))
    return Play(ale, np.array(screens), np.array(memory), np.array(points), states)


def shown(play: Play, state: object, address: int, byte: int, frames: int) -> np.ndarray:
    """The screen some frames after a byte is set."""
    play.ale.restoreState(state)
    play.ale.setRAM(address, byte)
    for _ in range(frames):
        play.ale.act(0)
    return play.ale.getScreen()


def some(values: np.ndarray, most: int = 20) -> np.ndarray:
    values = np.unique(values).astype(int)
    return values[np.linspace(0, len(values) - 1, min(most, len(values))).astype(int)]


def moves(play: Play, cell, axis: int) -> float:
    """The share of a byte's values that put something at the declared place (axis 0: y, 1: x), when they are set.

    What differs from the usual picture is looked at; its edge must follow the declared place one to one. Values that
    mean off the screen are left out.
    """
    most = cell.signal.high
    seen = play.memory[:, cell.address]
    values = some(np.array([value for value in np.unique(seen) if 0 < cell.decode(int(value)) < most]))
    if len(values) < 4:
        return 0.0
    declared = np.array([cell.decode(int(value)) for value in values])
    best = 0.0
    for state in play.states:
        for frames in (1, 2):
            screens = np.array([shown(play, state, cell.address, int(value), frames) for value in values])
            usual = np.median(screens, axis=0).astype(np.uint8)
            changed = [np.nonzero(screen != usual)[axis] for screen in screens]
            found = np.array([i for i, where in enumerate(changed) if 2 <= len(where) < 1200], np.intp)
            if len(found) < 4 or np.ptp(declared[found]) < 4:
                continue
            off = np.array([changed[i].min() for i in found]) - declared[found]
            usually = np.median(off)
            if abs(usually) <= EDGE:
                best = max(best, float((np.abs(off - usually) <= 2).sum() / len(values)))
    return best


def follows(play: Play, cell, axis: int) -> float:
    """How much oftener one colour is at the declared place than it is anywhere, 0 to 1, in what was played."""
    moved = play.screens != np.median(play.screens, axis=0).astype(np.uint8)
    bytes_ = play.memory[:, cell.address]
    place = np.array([cell.decode(int(byte)) for byte in bytes_]).astype(int)
    if len(np.unique(place)) < 5:
        return 0.0
    values, which, counts = np.unique(bytes_, return_inverse=True, return_counts=True)
    weight = 1 / counts[which] / len(values)
    colours, often = np.unique(play.screens[moved], return_counts=True)
    best = 0.0
    for colour in colours[np.argsort(-often)][:12]:
        there = (moved & (play.screens == colour)).any(axis=2 - axis)
        for offset in range(-2, EDGE + 1):
            at = np.clip(place + offset, 0, there.shape[1] - 1)
            best = max(best, float((weight * there[np.arange(len(at)), at]).sum() - there.mean()))
    return best


def grows(play: Play, cell) -> float:
    """How well what is drawn grows or shrinks, one way, with a byte's value: 1 is always."""
    values = some(play.memory[:, cell.address])
    if len(values) < 4:
        return 0.0
    best = 0.0
    for state in play.states:
        screens = [shown(play, state, cell.address, int(value), 2) for value in values]
        changed = np.array([(screen != screens[0]).sum() for screen in screens])
        steps = np.diff(changed)
        if changed.max() >= 4 and (steps != 0).mean() > 0.2:
            best = max(best, float((steps >= 0).mean()))
    return best


def rewarded(play: Play, cell) -> float:
    """The share of a byte's changes, by one or two each, that come with points."""
    values = np.array([cell.decode(int(byte)) for byte in play.memory[:, cell.address]])
    changed = np.flatnonzero(np.abs(np.diff(values)) == 1)
    if len(changed) < 4:
        return 0.0
    points = np.concatenate([[0], play.points, play.points[-1:]])
    return float(np.mean([points[t + 3] != points[t] for t in changed]))


def scores(play: Play, cell) -> float:
    """The share of states in which one more in the byte is one point more, or less, of what the game pays next."""
    right = []
    for state in play.states:
        paid = []
        for more in (0, 1):
            play.ale.restoreState(state)
            now = cell.decode(int(play.ale.getRAM()[cell.address]))
            byte = next(byte for byte in range(256) if cell.decode(byte) == now + more)
            play.ale.setRAM(cell.address, byte)
            paid.append(play.ale.act(0))
        right.append(abs(paid[1] - paid[0]) == 1)
    return float(np.mean(right))


def ticks(play: Play, cell, every: int = 6) -> float:
    """How near to one a second a byte's changes, by one each, come while it runs: 1 is exactly."""
    values = np.array([cell.decode(int(byte)) for byte in play.memory[:, cell.address]])
    changed = np.flatnonzero(np.isin(np.abs(np.diff(values)), (1, 59)))
    if len(changed) < 8:
        return 0.0
    return float(1 - abs(np.median(np.diff(changed)) * every / 60 - 1))
