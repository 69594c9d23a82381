"""Ids that the registry does not list: registered by a module, by a script, or announced by an installed package."""

from __future__ import annotations

import importlib
import logging
import sys
from functools import cache
from importlib.metadata import entry_points

import gymnasium
from gymnasium.envs.registration import EnvSpec, registry

from manyheads.errors import ManyheadsError
from manyheads.trust import require_allowed

GROUPS = ("gymnasium.envs", "gymnasium.envs.__root__")
"""Entry points of packages that announce ids, each a function that registers them."""

logger = logging.getLogger("manyheads")


def find_spec(name: str) -> EnvSpec | None:
    """The registered id `ID`, or `MODULE:ID` after importing the module; None where a plain id is unknown.

    Raises ManyheadsError where the module does not import or does not register the id.
    """
    module, _, id = name.rpartition(":")
    if module:
        _import(module, name)
    elif id not in registry:
        _load_announced()
    if id in registry:
        return registry[id]
    if not module:
        return None
    try:
        return gymnasium.spec(id)
    except gymnasium.error.Error as error:
        raise ManyheadsError(f"There is no environment named 'gymnasium/{name}': {error}") from None


def _import(module: str, name: str) -> None:
    if module not in sys.modules:
        require_allowed(module, f"environment gymnasium/{name}")
    try:
        importlib.import_module(module)
    except (Exception, SystemExit) as error:  # whatever a module raises as it is imported
        raise ManyheadsError(
            f"gymnasium/{name}: the module {module!r} does not import: {type(error).__name__}: {error}. "
            "Install its package, or name the module that registers the id."
        ) from error


@cache
def _load_announced() -> None:
    """Registers what packages announce, once; one that fails is named, and the others continue."""
    for group in GROUPS:
        for entry in entry_points(group=group):
            try:
                register = entry.load()
                if callable(register):
                    register()
            except (Exception, SystemExit) as error:  # whatever a package raises
                package = entry.dist.name if entry.dist else entry.value
                logger.warning("Package %s announces environments but fails: %r.", package, error)
