"""YAML files that people write: read strictly, checked by a pydantic model, written atomically.

A problem names file, line, key and what was expected. Duplicate keys, aliases and tags are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from manyheads.errors import ManyheadsError, unknown
from manyheads.storage import atomic

Key = str | int
M = TypeVar("M", bound=BaseModel)
MAX_BYTES = 1_000_000
MAX_DEPTH = 64

_SafeLoader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_SafeLoader):  # type: ignore[misc, valid-type]
    """SafeLoader that also takes `1e-3` for a number, as YAML 1.2 does."""


class _Dumper(yaml.SafeDumper):
    """SafeDumper that puts a text like `1e-3` into quotes."""


for _side in (_Loader, _Dumper):
    _side.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+[eE][-+]?[0-9]+$"), [*"-+0123456789"]
    )


@dataclass(frozen=True)
class Document:
    """What a YAML file holds, with the line of each key."""

    path: Path
    data: Any
    lines: Mapping[tuple[Key, ...], int]

    def error(self, where: Sequence[Key], problem: str) -> ManyheadsError:
        """The error `file:line: key: problem`, at the nearest known line."""
        known = tuple(where)
        while known and known not in self.lines:
            known = known[:-1]
        line = f":{self.lines[known]}" if known in self.lines else ""
        key = f" {'.'.join(map(str, where))}:" if where else ""
        return ManyheadsError(f"{self.path}{line}:{key} {problem.rstrip('.')}.")

    def check(self, model: type[M], at: Sequence[Key] = (), data: Any = None) -> M:
        """The document as a checked model; or its part `data`, which lies under the key `at`."""
        data = self.data if data is None else data
        if not isinstance(data, dict):
            raise self.error(at, f"expected keys and values, found {_kind(data)}")
        try:
            return model.model_validate(data)
        except ValidationError as error:
            problem = error.errors()[0]
            where = [*at, *_keys(data, problem)]
            top = len(problem["loc"]) == 1
            if problem["type"] == "extra_forbidden":
                hint = unknown("key", str(problem["loc"][-1]), model.model_fields if top else ())
                raise self.error(where, str(hint) if top else "there is no such key here") from None
            if problem["type"] == "missing":
                expected = f"; the keys are {', '.join(model.model_fields)}" if top else ""
                raise self.error(where, f"is missing{expected}") from None
            raise self.error(where, f"{problem['msg']}; found {problem['input']!r:.80}") from None


def read(path: Path) -> Document:
    """Reads a YAML file; raises ManyheadsError with file and line for anything but plain data."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ManyheadsError(f"{path} is larger than {MAX_BYTES // 1000} kB; expected a short YAML file.")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ManyheadsError(f"{path} can't be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ManyheadsError(f"{path} is no text in UTF-8.") from None
    try:
        _refuse_tricks(path, text)
        loader = _Loader(text)
        node = loader.get_single_node()
        lines: dict[tuple[Key, ...], int] = {}
        data = None if node is None else _construct(loader, node, (), lines, path)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ManyheadsError(f"{path}:{line}: no valid YAML: {error.problem}.") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date that no calendar has
        raise ManyheadsError(f"{path}: no valid YAML: {error}.") from None
    return Document(path, data, lines)


def write(path: Path, data: Mapping[str, Any]) -> None:
    """Atomically writes plain data as YAML for people: small things in one line, others in blocks."""
    text = yaml.dump(
        dict(data), Dumper=_Dumper, default_flow_style=None, sort_keys=False, allow_unicode=True, width=100
    )
    atomic.write_text(path, text)


def _refuse_tricks(path: Path, text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if getattr(event, "anchor", None) or getattr(event, "tag", None):
            raise ManyheadsError(f"{path}:{line}: aliases and tags are not allowed.")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise ManyheadsError(f"{path}:{line}: nested deeper than {MAX_DEPTH} levels.")


def _construct(
    loader: yaml.SafeLoader,
    node: yaml.Node,
    at: tuple[Key, ...],
    lines: dict[tuple[Key, ...], int],
    path: Path,
) -> Any:
    """Plain data from a node; notes each key's line and refuses a key that comes twice."""
    if isinstance(node, yaml.MappingNode):
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise ManyheadsError(f"{path}:{line}: a key must be a plain word.")
            key = str(key_node.value)
            if key in data:
                raise ManyheadsError(f"{path}:{line}: the key {key!r} comes twice (first in line {lines[(*at, key)]}).")
            lines[(*at, key)] = line
            data[key] = _construct(loader, value_node, (*at, key), lines, path)
        return data
    if isinstance(node, yaml.SequenceNode):
        for i, child in enumerate(node.value):
            lines[(*at, i)] = child.start_mark.line + 1
        return [_construct(loader, child, (*at, i), lines, path) for i, child in enumerate(node.value)]
    return loader.construct_object(node)


def _keys(data: Any, problem: ErrorDetails) -> Iterator[Key]:
    """The problem's place in the data, without the union members' names that pydantic puts in between."""
    *_, last = problem["loc"]
    for part in problem["loc"]:
        if (isinstance(data, dict) and part in data) or (isinstance(data, list) and isinstance(part, int)):
            yield part
            data = data[part]  # type: ignore[index]
        elif part == last and problem["type"] == "missing":
            yield part


def _kind(data: Any) -> str:
    return "nothing" if data is None else f"the {type(data).__name__} {data!r:.60}"
