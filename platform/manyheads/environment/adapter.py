"""Any Gymnasium environment as flat rows, and the fitting of its rows to a world's interface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import numpy.typing as npt

from manyheads.environment.actions import ActionUnflattener
from manyheads.environment.contract import KeyRule, Signal
from manyheads.environment.layout import SpaceLayout
from manyheads.environment.observations import ObservationFlattener
from manyheads.environment.pictures import Pixels
from manyheads.environment.space_json import space_from_json, space_to_json
from manyheads.environment.spaces import Floats, Space
from manyheads.errors import ManyheadsError

Doubles = npt.NDArray[np.float64]


class Observation(NamedTuple):
    """What one reset or step shows."""

    image: Pixels | None
    """(H, W, C) uint8"""
    vector: Floats
    """(V,) float32"""
    signals: Doubles
    """(S,) float64 in the order of the catalogue, `reward` first"""


class RowFormat:
    """How native observations become rows and flat actions native ones: what acting needs to know of an environment.

    With `image_size` all pictures become squares of that side; `keys` declares what becomes of observation keys. Vector
    entries are named by the `family`; without one by the `owner`, the environment.
    """

    def __init__(
        self,
        observation_space: Space,
        action_space: Space,
        owner: str,
        image_size: int | None = None,
        keys: Mapping[str, KeyRule] | None = None,
        family: str = "",
    ) -> None:
        self.owner, self.keys, self.family = owner, dict(keys or {}), family or owner
        self.observation_space, self.action_space = observation_space, action_space
        self.observe = ObservationFlattener(observation_space, owner, image_size, keys)
        self.act = ActionUnflattener(action_space, owner)
        self.layout = SpaceLayout(
            image=self.observe.image,
            vector=tuple(f"{self.family} {name}" for name in self.observe.names),
            continuous=self.act.continuous,
            discrete=self.act.discrete,
        )

    def record(self) -> dict[str, Any]:
        """JSON-able; `RowFormat.of` reads it back."""
        ends = {"observation": space_to_json(self.observation_space), "action": space_to_json(self.action_space)}
        return {"owner": self.owner, "keys": self.keys, "family": self.family, **ends}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> RowFormat:
        """What `record` described, without the environment; raises ManyheadsError where it is damaged."""
        if {*record} - {"family"} != {"owner", "keys", "observation", "action"}:
            raise ManyheadsError(f"A record of spaces has the keys {', '.join(map(str, record))}; it was edited.")
        observation, action = (space_from_json(record[name]) for name in ("observation", "action"))
        return RowFormat(observation, action, record["owner"], keys=record["keys"], family=record.get("family", ""))


class FlatEnv(RowFormat):
    """A measured environment (from `Instance.make`) that takes flat actions and gives flat rows.

    `signals` is the instance's catalogue; with `image_size` all pictures become squares of that side.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], signals: Sequence[Signal], image_size: int | None = None) -> None:
        measured = env.has_wrapper_attr("owner")
        owner = env.get_wrapper_attr("owner") if measured else type(env.unwrapped).__name__
        keys = env.get_wrapper_attr("observation_keys") if measured else {}
        family = env.get_wrapper_attr("family") if measured else ""
        super().__init__(env.observation_space, env.action_space, owner, image_size, keys, family)
        self.env = env
        self.signals = tuple(signal.name for signal in signals)

    def reset(self, seed: int | None = None) -> Observation:
        """Starts an episode, the same one for the same seed."""
        observation, info = self.env.reset(seed=seed)
        return self.row(observation, info)

    def step(self, action: npt.ArrayLike) -> tuple[Observation, bool, bool]:
        """One step of a flat action (A,): the row it led to, whether it is the last, whether terminal."""
        observation, _, terminated, truncated, info = self.env.step(self.act(action))
        return self.row(observation, info), terminated or truncated, terminated

    def row(self, observation: Any, info: Mapping[str, Any]) -> Observation:
        """A native observation and its `info` as flat numbers."""
        vector, signals = np.zeros(len(self.layout.vector), np.float32), np.zeros(len(self.signals))
        image = self.write(observation, info, vector, signals)
        self.observe.check(vector)
        return Observation(image, vector, signals)

    def write(self, observation: Any, info: Mapping[str, Any], vector: Floats, signals: Doubles) -> Pixels | None:
        """`row` into zeros (V,) and (S,), for `observe.check` to look at the vector; returns the image."""
        image = self.observe.write(observation, vector)
        values = info["signals"]
        signals[:] = [values[name] for name in self.signals]
        return image

    def render(self) -> Pixels:
        """The environment's own picture (H, W, 3)."""
        return np.asarray(self.env.render(), np.uint8)

    def close(self) -> None:
        self.env.close()


class LayoutMap:
    """How one instance's entries lie in a world's interface; what the instance lacks is zero there."""

    def __init__(self, interface: SpaceLayout, layout: SpaceLayout) -> None:
        layout = interface.naming(layout)
        if interface.union(layout) != interface:
            known = {*interface.vector, *interface.continuous, *interface.discrete}
            new = [entry for entry in (*layout.vector, *layout.continuous, *layout.discrete) if entry not in known]
            what = f"the entry {new[0]!r}" if new else f"pictures of size {layout.image}"
            raise ManyheadsError(f"The world's interface lacks {what}. Grow it with `interface.union(layout)` first.")
        self.interface, self.layout = interface, layout
        entries = {name: at for at, name in enumerate(interface.vector)}
        self._vector = np.array([entries[name] for name in layout.vector], np.intp)
        starts = dict(zip(interface.discrete, _starts(interface), strict=True))
        self._action = np.array(
            [interface.continuous.index(name) for name in layout.continuous]
            + [starts[block] + k for block in layout.discrete for k in range(block[1])],
            np.intp,
        )

    def map_vector(self, own: npt.ArrayLike, out: Floats | None = None) -> Floats:
        """Vectors (.., v) of the instance in the interface's entries (.., V), of zeros or those of `out`."""
        own = np.asarray(own, np.float32)
        fitted = np.zeros((*own.shape[:-1], len(self.interface.vector)), np.float32) if out is None else out
        fitted[..., self._vector] = own
        return fitted

    def unmap_vector(self, fitted: npt.ArrayLike) -> Floats:
        """Vectors (.., V) of the interface (a decoded one, say) in the instance's entries (.., v)."""
        return np.asarray(fitted, np.float32)[..., self._vector]

    def map_image(self, own: Pixels | None) -> Pixels | None:
        """A picture in the interface's channels: black if the instance has none, None if the world."""
        if self.interface.image is None or (own is not None and own.shape[-3:] == self.interface.image):
            return own
        fitted = np.zeros(self.interface.image if own is None else (*own.shape[:-3], *self.interface.image), np.uint8)
        if own is not None:
            fitted[..., : own.shape[-1]] = own
        return fitted

    def unmap_action(self, fitted: npt.ArrayLike) -> Floats:
        """The instance's flat action (.., a) out of the interface's (.., A)."""
        return np.asarray(fitted, np.float32)[..., self._action]

    def map_action(self, own: npt.ArrayLike, out: Floats | None = None) -> Floats:
        """The instance's flat action (.., a) in the interface's entries (.., A), of zeros or those of `out`."""
        own = np.asarray(own, np.float32)
        fitted = np.zeros((*own.shape[:-1], self.interface.action_size), np.float32) if out is None else out
        fitted[..., self._action] = own
        return fitted


def _starts(interface: SpaceLayout) -> list[int]:
    sizes = interface.blocks
    return [len(interface.continuous) + sum(sizes[:i]) for i in range(len(sizes))]
