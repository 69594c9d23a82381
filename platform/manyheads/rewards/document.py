"""Reads a specification's text, YAML or JSON, into plain data, equally strictly for both (level L0)."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

import yaml

MAX_BYTES = 16 * 1024
MAX_DEPTH = 24
MAX_NUMBER = 1e6

_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|nan)|[-+]?(inf|infinity|nan)", re.IGNORECASE)
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}


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


# --- JSON -------------------------------------------------------------------------------------------------


def _read_json(text: str) -> Any:
    depth = deepest = 0
    for mark in re.findall(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', text):
        depth += (mark in "[{") - (mark in "]}")
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH:
        _too_deep()
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
            _duplicate(key)
        data[key] = value
    return data


# --- YAML -------------------------------------------------------------------------------------------------


def _read_yaml(text: str) -> Any:
    depth = 0
    try:
        for event in yaml.parse(text, Loader=yaml.BaseLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                _too_deep()
            if getattr(event, "anchor", None) or getattr(event, "tag", None):
                raise Refused("L0_YAML", "Anchors, aliases and tags are not allowed; write values out.")
        node = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise Refused("L0_YAML", f"Line {line}: {error.problem}.") from None
    except yaml.YAMLError as error:
        raise Refused("L0_YAML", f"No valid YAML: {error}.") from None
    return None if node is None else _plain(node)


def _plain(node: yaml.Node) -> Any:
    """A node's data with the scalars of JSON alone: YAML's dates, octals and `yes` stay strings."""
    if isinstance(node, yaml.MappingNode):
        data: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise Refused("L0_YAML", f"Line {key.start_mark.line + 1}: a key must be a plain word.")
            if key.value in data:
                _duplicate(key.value)
            data[key.value] = _plain(value)
        return data
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item) for item in node.value]
    assert isinstance(node, yaml.ScalarNode)
    text: str = node.value
    if node.style is not None:  # quoted or a block
        return text
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if _NOT_FINITE.fullmatch(text):
        _not_finite(text)
    if not _NUMBER.fullmatch(text):
        return text
    number = float(text)
    return int(number) if math.isfinite(number) and re.fullmatch(r"-?\d+", text) else number


def _not_finite(text: str) -> NoReturn:
    raise Refused("L0_NUMBER", f"{text} is no finite number.")


def _duplicate(key: str) -> NoReturn:
    raise Refused("L0_DUPLICATE_KEY", f"The key {key!r} comes twice in one mapping; keep one.")


def _too_deep() -> NoReturn:
    raise Refused("L0_DEPTH", f"The text is nested more than {MAX_DEPTH} levels deep.")
