"""R1, retrieval: the packaged examples nearest to a clause, and what they decided."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, TypeAdapter

from manyheads import yamlfile
from manyheads_glam.catalogue import Role
from manyheads_glam.evidence import Side

Embed = Callable[[Sequence[str]], Any]
NEAREST = 4


class Choice(BaseModel):
    """A decision over a signal's role, so that it carries over to other environments."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Role
    side: Side


class Example(BaseModel):
    """A goal and what was decided for it; `also` holds what it implies in addition to what it says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    goal: str
    environment: str
    decisions: tuple[Choice, ...]
    also: tuple[Choice, ...] = ()


@dataclass(frozen=True)
class Near:
    """An example and its similarity (cosine) to a clause."""

    example: Example
    similarity: float


@cache
def examples() -> tuple[Example, ...]:
    """The packaged index, in files by kind of thing."""
    folder = Path(str(files("manyheads_glam"))) / "examples"
    adapter = TypeAdapter(list[Example])
    found: list[Example] = []
    for file in sorted(folder.glob("*.yaml")):
        found += adapter.validate_python(yamlfile.read(file).data)
    return tuple(found)


class Index:
    """The examples under one model's embeddings."""

    def __init__(self, embed: Embed) -> None:
        self._embed = embed
        self._vectors: np.ndarray[Any, Any] = np.asarray(embed([example.goal for example in examples()]))

    def nearest(self, clause: str) -> list[Near]:
        """The examples nearest to a clause, nearest first."""
        similarity = self._vectors @ np.asarray(self._embed([clause]))[0]
        order = np.argsort(-similarity, kind="stable")[:NEAREST]
        return [Near(examples()[i], float(similarity[i])) for i in order]


@cache
def packaged_index(embed: Embed) -> Index:
    """The examples under the embeddings of that function, computed once."""
    return Index(embed)


def role_votes(near: Sequence[Near]) -> dict[str, float]:
    """The share of the nearest examples' weight for each role of their decisions."""
    return _votes([(choice.role, one.similarity) for one in near for choice in one.example.decisions])


def side_votes(near: Sequence[Near], role: Role) -> dict[str, float]:
    """The share for each side, among decisions over one role."""
    pairs = [(c.side, one.similarity) for one in near for c in one.example.decisions if c.role == role]
    return _votes(pairs)


def _votes(pairs: Sequence[tuple[str, float]]) -> dict[str, float]:
    weights: dict[str, float] = {}
    for name, similarity in pairs:
        weights[name] = weights.get(name, 0.0) + max(0.0, similarity - 0.2) ** 2
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()} if total else {}
