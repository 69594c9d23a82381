"""Which modules may be imported because a file names them: those of installed plugins and those that a user allows."""

from __future__ import annotations

import os

from manyheads.errors import ManyheadsError

VARIABLE = "MANYHEADS_ALLOW_MODULES"
"""names of modules, separated by commas; modules below them are allowed, too"""

_allowed: set[str] = set()
_packages: set[str] = set()


def allow_module(name: str) -> None:
    """Lets tasks and worlds name code of this module, and of those below it, for the rest of this process."""
    _allowed.add(name)


def allow_package(module: str) -> None:
    """Lets tasks and worlds name what the package of an installed plugin's `module` defines."""
    package = module.partition(":")[0].partition(".")[0]
    if package != "manyheads":
        _packages.add(package)


def require_allowed(module: str, what: str) -> None:
    """Raises ManyheadsError, before anything is imported, where a file may not name code of this module."""
    named = [name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()]
    if not any(module == one or module.startswith(f"{one}.") for one in {*_allowed, *_packages, *named}):
        raise ManyheadsError(
            f"The {what} is code of the module {module!r}, which no installed plugin brings, so it is not run. "
            f"If you trust who wrote it, set {VARIABLE}={','.join([*named, module])} for every command that may run it."
        )


def require_own(found: object, module: str, what: str) -> None:
    """Raises ManyheadsError where what a plugin's module holds was defined in a module that is not allowed."""
    home = getattr(found, "__module__", None)
    if module.partition(".")[0] in _packages and isinstance(home, str):
        require_allowed(home, what)
