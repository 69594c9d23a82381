"""Reads YAML into plain data, strictly: the one reader of task files, worlds and reward specifications.

Scalars are those of JSON: YAML's dates, octals and `yes` stay texts. Keys that come twice, anchors, aliases and tags
are refused.
"""

from __future__ import annotations

import math
import re
from typing import Any, Literal, NamedTuple

import yaml
from yaml.reader import ReaderError

Key = str | int
MAX_DEPTH = 24
TOO_DEEP = f"nested deeper than {MAX_DEPTH} levels"

NUMBER = re.compile(r"[-+]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][-+]?\d+)?", re.ASCII)
NOT_FINITE = re.compile(r"[-+]?\.?(inf|nan|infinity)", re.IGNORECASE)
_WORDS = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("null", "Null", "NULL", "~", ""), None),
}
_Loader: type[yaml.BaseLoader] = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


class YamlProblem(Exception):
    """A text that is not read: what kind of mistake, in which line, in words (lower case, no full stop)."""

    def __init__(self, kind: Literal["syntax", "duplicate", "depth", "number"], line: int, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.line = line
        self.message = message


class Parsed(NamedTuple):
    """Plain data, and the line of each key and item by its place."""

    data: Any
    lines: dict[tuple[Key, ...], int]


def parse(text: str) -> Parsed:
    """The data in a text; raises YamlProblem."""
    lines: dict[tuple[Key, ...], int] = {}
    try:
        _refuse_tricks(text)
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        if "nesting depth" in str(error.problem):  # the limit of PyYAML's own scanner, which reads ahead of events
            raise YamlProblem("depth", line, TOO_DEEP) from None
        raise YamlProblem("syntax", line, f"no valid YAML: {error.problem}") from None
    except ReaderError as error:  # a character that YAML does not allow
        line = text.count("\n", 0, error.position) + 1
        raise YamlProblem("syntax", line, f"no valid YAML: the character {chr(error.character)!a}") from None
    except (yaml.YAMLError, UnicodeEncodeError) as error:
        raise YamlProblem("syntax", 1, f"no valid YAML: {error}") from None
    return Parsed(None if node is None else _plain(node, (), lines), lines)


def _refuse_tricks(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if getattr(event, "anchor", None) or getattr(event, "tag", None):
            raise YamlProblem("syntax", line, "anchors, aliases and tags are not allowed; write values out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise YamlProblem("depth", line, TOO_DEEP)


def _plain(node: yaml.Node, at: tuple[Key, ...], lines: dict[tuple[Key, ...], int]) -> Any:
    """A node's data; notes lines on the way."""
    if isinstance(node, yaml.MappingNode):
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise YamlProblem("syntax", line, "a key must be a plain word")
            key: str = key_node.value
            if key in data:
                raise YamlProblem("duplicate", line, f"the key {key!r} comes twice (first in line {lines[(*at, key)]})")
            lines[(*at, key)] = line
            data[key] = _plain(value_node, (*at, key), lines)
        return data
    if isinstance(node, yaml.SequenceNode):
        lines.update({(*at, i): item.start_mark.line + 1 for i, item in enumerate(node.value)})
        return [_plain(item, (*at, i), lines) for i, item in enumerate(node.value)]
    assert isinstance(node, yaml.ScalarNode)
    return node.value if node.style else _scalar(node.value, node.start_mark.line + 1)  # a style: quotes, or a block


def _scalar(text: str, line: int) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if NUMBER.fullmatch(text):
        if math.isfinite(number := float(text)):
            return int(text) if text.lstrip("+-").isdigit() else number
    elif not NOT_FINITE.fullmatch(text):
        return text
    raise YamlProblem("number", line, f"{text:.40} is not a finite number")
