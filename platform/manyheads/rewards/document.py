"""Reads a specification's text, YAML or JSON, into plain data, equally strictly for both (level L0)."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from manyheads.yamltext import MAX_DEPTH, YamlProblem, parse

MAX_BYTES = 16 * 1024
MAX_NUMBER = 1e6
YAML_CODES = {"syntax": "L0_YAML", "duplicate": "L0_DUPLICATE_KEY", "depth": "L0_DEPTH", "number": "L0_NUMBER"}


class Refused(Exception):
    """A text that is not read: the code of the check, where, and why."""

    def __init__(self, code: str, message: str, path: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.path = path


def read_document(text: str) -> Any:
    """Plain data from JSON (a text that starts with `{`) or YAML; raises Refused."""
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        raise Refused("L0_SIZE", f"The text has {size} bytes; at most {MAX_BYTES} are allowed.")
    data = _read_json(text) if text.lstrip().startswith("{") else _read_yaml(text)
    _check_numbers(data, "")
    return data


def _check_numbers(data: Any, path: str) -> None:
    if isinstance(data, dict):
        for key, item in data.items():
            _check_numbers(item, f"{path}.{key}" if path else key)
    elif isinstance(data, list):
        for i, item in enumerate(data):
            _check_numbers(item, f"{path}[{i}]")
    elif isinstance(data, (int, float)) and not abs(data) <= MAX_NUMBER:
        raise Refused("L0_NUMBER", f"{data} is outside ±{MAX_NUMBER:g}.", path)


def _read_json(text: str) -> Any:
    depth = deepest = 0
    for mark in re.findall(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', text):
        depth += (mark in "[{") - (mark in "]}")
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH:
        raise Refused("L0_DEPTH", f"The text is nested deeper than {MAX_DEPTH} levels.")
    try:
        return json.loads(text, parse_constant=_not_finite, object_pairs_hook=_no_duplicates)
    except json.JSONDecodeError as error:
        problem = "text follows the closing bracket" if error.msg == "Extra data" else error.msg
        raise Refused("L0_JSON", f"Line {error.lineno}, column {error.colno}: {problem}.") from None
    except ValueError as error:  # an integer of thousands of digits
        raise Refused("L0_NUMBER", f"A number can't be read: {error}.") from None


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for key, value in pairs:
        if key in data:
            raise Refused("L0_DUPLICATE_KEY", f"The key {key!r} comes twice in one mapping; keep one.")
        data[key] = value
    return data


def _not_finite(text: str) -> NoReturn:
    raise Refused("L0_NUMBER", f"{text} is not a finite number.")


def _read_yaml(text: str) -> Any:
    try:
        return parse(text).data
    except YamlProblem as problem:
        raise Refused(YAML_CODES[problem.kind], f"Line {problem.line}: {problem.message}.") from None
