"""Gymnasium spaces as JSON, so that a head acts where its simulator is not installed."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from manyheads.environment.spaces import Space
from manyheads.errors import ManyheadsError

ENDS = {"inf": np.inf, "-inf": -np.inf}


def space_to_json(space: Space) -> dict[str, Any]:
    """A space of the kinds that a world reads; raises ManyheadsError for another."""
    if isinstance(space, spaces.Dict):
        return {"kind": "dict", "parts": {str(key): space_to_json(part) for key, part in space.spaces.items()}}
    if isinstance(space, spaces.Tuple):
        return {"kind": "tuple", "parts": [space_to_json(part) for part in space.spaces]}
    if isinstance(space, spaces.Box):
        ends = {"low": _short(space.low), "high": _short(space.high)}
        return {"kind": "box", "shape": [*space.shape], "dtype": str(space.dtype), **ends}
    if isinstance(space, spaces.Discrete):
        return {"kind": "discrete", "n": int(space.n), "start": int(space.start)}
    if isinstance(space, spaces.MultiDiscrete):
        numbers = {"nvec": space.nvec.tolist(), "start": space.start.tolist()}
        return {"kind": "multi_discrete", "dtype": str(space.dtype), **numbers}
    if isinstance(space, spaces.MultiBinary):
        return {"kind": "multi_binary", "shape": [*space.shape]}
    if isinstance(space, spaces.Text):
        return {"kind": "text", "max_length": space.max_length, "characters": "".join(sorted(space.characters))}
    raise ManyheadsError(f"{space} can't be written down; Box, Discrete, Multi…, Text, Dict and Tuple spaces can.")


def space_from_json(record: Any) -> Any:
    """The space that `space_to_json` wrote; raises ManyheadsError where the record is no such thing."""
    try:
        return _read(record)
    except (KeyError, TypeError, ValueError, AttributeError, AssertionError) as error:
        raise ManyheadsError(f"A recorded space is damaged or was edited: {type(error).__name__}: {error}.") from None


def _read(record: Any) -> Any:
    kind = record["kind"]
    if kind == "dict":
        return spaces.Dict({key: _read(part) for key, part in record["parts"].items()})
    if kind == "tuple":
        return spaces.Tuple([_read(part) for part in record["parts"]])
    if kind == "box":
        dtype, shape = np.dtype(record["dtype"]), tuple(record["shape"])
        low, high = (_whole(record[end], dtype, shape) for end in ("low", "high"))
        return spaces.Box(low, high, shape, dtype.type)
    if kind == "discrete":
        return spaces.Discrete(record["n"], start=record["start"])
    if kind == "multi_discrete":
        dtype = np.dtype(record["dtype"])
        return spaces.MultiDiscrete(record["nvec"], dtype.type, start=record["start"])
    if kind == "multi_binary":
        shape = record["shape"]
        return spaces.MultiBinary(shape[0] if len(shape) == 1 else shape)
    if kind == "text":
        return spaces.Text(record["max_length"], charset=record["characters"])
    raise ValueError(f"unknown kind {kind!r}")


def _short(end: np.ndarray[Any, Any]) -> Any:
    """A bound as one number where all entries are equal; infinities as texts."""
    values = end.reshape(-1).tolist()
    short = values[:1] if len({*values}) == 1 else values
    written = [str(x) if isinstance(x, float) and np.isinf(x) else x for x in short]
    return written[0] if len(written) == 1 else written


def _whole(end: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    values = [ENDS.get(x, x) if isinstance(x, str) else x for x in (end if isinstance(end, list) else [end])]
    array = np.array(values, dtype)
    return np.broadcast_to(array.reshape(shape) if len(values) > 1 else array.reshape(()), shape).copy()
