"""Brings a specification that an earlier version of the grammar wrote up to today's, before it is checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from manyheads.rewards.document import Refused

VERSION = 1
STEPS: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""From a version to the next one; the steps that lead from a document's version to today's are taken in turn."""


def upgrade(document: Any) -> Any:
    """The document in today's version; one that names no version is of today's, and what is not a mapping stays.

    Raises Refused where a newer program wrote it.
    """
    if not isinstance(document, dict) or type(version := document.get("version", VERSION)) is not int:
        return document
    if version > VERSION:
        message = f"It is of version {version}; this program reads versions up to {VERSION}. Install a newer manyheads."
        raise Refused("L1_SCHEMA", message, "version")
    while version in STEPS:
        document, version = {**STEPS[version](document), "version": version + 1}, version + 1
    return document
