"""YAML files that people write: read strictly, checked by a pydantic model, written atomically.

A problem names file, line, key and what was expected; `yamltext` says what is read at all.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from manyheads import atomic
from manyheads.errors import ManyheadsError, unknown
from manyheads.yamltext import NOT_FINITE, NUMBER, Key, YamlProblem, parse

M = TypeVar("M", bound=BaseModel)
MAX_BYTES = 1_000_000


class _Dumper(yaml.SafeDumper):
    """SafeDumper for what is read back: texts that look like numbers in quotes, no number that isn't finite."""

    def represent_float(self, data: float) -> yaml.ScalarNode:
        if not math.isfinite(data):
            raise ManyheadsError(f"A file can't hold {data}: it is not a finite number.")
        return super().represent_float(data)


_Dumper.add_representer(float, _Dumper.represent_float)


for _pattern in (NUMBER, NOT_FINITE):
    _whole = re.compile(f"(?:{_pattern.pattern})$", _pattern.flags)
    _Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _whole, None)


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

    def error_about(self, part: Sequence[Key], problem: str) -> ManyheadsError:
        """The error at the text in a part of the document that the problem quotes; else at that part."""
        data = self.data
        for key in part:
            data = data[key]
        quoted = (where for where, text in _texts(data, tuple(part)) if repr(text) in problem)
        return self.error(next(quoted, tuple(part)), problem)

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
    return read_text(atomic.read_text(path, MAX_BYTES, "short YAML file"), path)


def read_text(text: str, path: Path) -> Document:
    """Reads the YAML text of a file, or of a part of one that `path` names in messages."""
    try:
        parsed = parse(text)
    except YamlProblem as problem:
        raise ManyheadsError(f"{path}:{problem.line}: {problem.message}.") from None
    return Document(path, parsed.data, parsed.lines)


def read_setting(text: str, example: str) -> tuple[str, Any]:
    """Name and value of `--set NAME=VALUE`; the value is read as it would be in a file."""
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise ManyheadsError(f"--set {text}: expected NAME=VALUE, for example --set {example}.")
    try:
        return name, parse(value).data
    except YamlProblem as problem:
        raise ManyheadsError(f"--set {text}: {problem.message}. Quote what is meant as a text.") from None


def write(path: Path, data: Mapping[str, Any]) -> None:
    """Atomically writes plain data as YAML for people: small things in one line, others in blocks."""
    text = to_text(data)
    if (size := len(text.encode("utf-8", "surrogatepass"))) > MAX_BYTES:
        raise ManyheadsError(
            f"{path} would have {size // 1000} kB, and no file of more than {MAX_BYTES // 1000} kB is read back."
        )
    atomic.write_text(path, text)


def to_text(data: Mapping[str, Any]) -> str:
    """What `write` writes."""
    text: str = yaml.dump(
        dict(data), Dumper=_Dumper, default_flow_style=None, sort_keys=False, allow_unicode=True, width=100
    )
    return text


def _keys(data: Any, problem: ErrorDetails) -> Iterator[Key]:
    """The problem's place in the data, without the union members' names that pydantic puts in between."""
    *_, last = problem["loc"]
    for part in problem["loc"]:
        inside = part in data if isinstance(data, dict) else isinstance(data, list) and isinstance(part, int)
        if inside:
            yield part
            data = data[part]
        elif part == last and problem["type"] == "missing":
            yield part


def _texts(data: Any, at: tuple[Key, ...]) -> Iterator[tuple[tuple[Key, ...], str]]:
    """All texts in plain data, each with its place."""
    if isinstance(data, str):
        yield at, data
    elif isinstance(data, (dict, list)):
        for key, item in data.items() if isinstance(data, dict) else enumerate(data):
            yield from _texts(item, (*at, key))


def _kind(data: Any) -> str:
    return "nothing" if data is None else f"the {type(data).__name__} {data!r:.60}"
