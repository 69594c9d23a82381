"""JSON schemas as servers take them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
LENGTHS = ("minLength", "maxLength", "minItems", "maxItems", "pattern")
REFUSED = frozenset(NUMBERS + LENGTHS)
"""Constraints that many servers refuse; answers are checked for them here."""


def strict(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema in the dialect of OpenAI's strict structured outputs: every key is required, what may be left out
    may be null instead, and there are no constraints on numbers, texts and lists."""
    node: dict[str, Any] = _strict(schema)
    return node


def _strict(node: Any) -> Any:
    if isinstance(node, list):
        return [_strict(child) for child in node]
    if not isinstance(node, Mapping):
        return node
    plain = {key: _strict(value) for key, value in node.items() if key not in REFUSED or isinstance(value, Mapping)}
    properties = plain.get("properties")
    if isinstance(properties, dict):
        needed = set(node.get("required", ()))
        plain["properties"] = {
            name: value if name in needed else _nullable(value) for name, value in properties.items()
        }
        plain |= {"required": list(properties), "additionalProperties": False}
    return plain


def _nullable(node: dict[str, Any]) -> dict[str, Any]:
    options = node["anyOf"] if set(node) == {"anyOf"} else [node]
    return {"anyOf": [*(option for option in options if option != {"type": "null"}), {"type": "null"}]}
