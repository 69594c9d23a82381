"""Nested Gymnasium spaces as a list of named leaves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from manyheads.errors import ManyheadsError

Floats = npt.NDArray[np.float32]
Space = spaces.Space[Any]
Path = tuple[Any, ...]


class Leaf(NamedTuple):
    """A space without parts, where it sits in a nested value, and its name."""

    path: Path
    space: Space
    name: str

    def read(self, value: Any) -> Any:
        for key in self.path:
            value = value[key]
        return value


def leaf_spaces(space: Space, root: str, path: Path = (), name: str = "") -> Iterator[Leaf]:
    """The parts of nested Dict and Tuple spaces in order, with dotted names; `root` where there is no key."""
    if isinstance(space, spaces.Dict):
        for key, part in space.spaces.items():
            yield from leaf_spaces(part, root, (*path, key), f"{name}.{key}" if name else str(key))
    elif isinstance(space, spaces.Tuple):
        for index, part in enumerate(space.spaces):
            yield from leaf_spaces(part, root, (*path, index), f"{name or root}.{index}")
    else:
        yield Leaf(path, space, name or root)


def nest(space: Space, parts: Mapping[Path, Any], path: Path = ()) -> Any:
    """A value of a nested space from its leaves' values by path; parts without a value are left out."""
    if isinstance(space, spaces.Dict):
        inner = {key: nest(part, parts, (*path, key)) for key, part in space.spaces.items()}
        return {key: value for key, value in inner.items() if value is not None}
    if isinstance(space, spaces.Tuple):
        values = (nest(part, parts, (*path, index)) for index, part in enumerate(space.spaces))
        return tuple(value for value in values if value is not None)
    return parts.get(path)


def discrete_sizes(space: Space) -> list[int]:
    """The numbers of choices of a MultiDiscrete or MultiBinary space, in order."""
    if isinstance(space, spaces.MultiBinary):
        return [2] * int(np.prod(space.shape))
    assert isinstance(space, spaces.MultiDiscrete)
    return [int(n) for n in np.ravel(space.nvec)]


def require_distinct(names: Iterable[str], owner: str, what: str) -> None:
    """Raises ManyheadsError where two entries have one name, as the keys `a.b` and `b` inside `a` would."""
    name, count = next(iter(Counter(names).most_common(1)), ("", 0))
    if count > 1:
        raise ManyheadsError(
            f"{owner}: two entries of its {what} are named {name!r}. Nested keys are joined by dots; "
            "rename one of the keys, for instance in a wrapper."
        )


def unsupported(owner: str, what: str, leaf: Leaf) -> ManyheadsError:
    """The error for a space that no world can read."""
    fit = (
        "Box, Discrete, MultiDiscrete and MultiBinary spaces fit, Text in observations, and Tuple and Dict of those; "
        "wrap the environment to give one of them"
    )
    drop = f", or leave it out with `observation_keys={{{leaf.name!r}: 'drop'}}`" if what == "observations" else ""
    return ManyheadsError(f"{owner}: {what} {leaf.name!r} are {leaf.space}, which does not fit a world. {fit}{drop}.")
