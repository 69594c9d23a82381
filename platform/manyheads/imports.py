"""Objects named by a place, `package.module:name`, imported on first use."""

from importlib import import_module
from typing import TypeVar

from manyheads.errors import ManyheadsError, unknown

T = TypeVar("T")


def load_object(where: str, expected: type[T], what: str) -> T:
    """Imports `package.module:name`; raises ManyheadsError that names `what` where nothing of that type is there.

    What the module itself raises while it is imported is passed on: it is that module's bug.
    """
    module_name, colon, name = where.partition(":")
    if not (colon and module_name and name):
        raise ManyheadsError(f"The {what} lies at {where!r}; expected the form package.module:name.")
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or module_name
        if module_name == missing or module_name.startswith(f"{missing}."):
            raise ManyheadsError(
                f"The {what} lies at {where!r}, but there is no module {missing!r}."
            ) from error
        raise ManyheadsError(
            f"The {what} needs the module {missing!r}: install it (pip install {missing})."
        ) from error
    try:
        found = getattr(module, name)
    except AttributeError:
        raise unknown(f"object in {module_name}", name, (n for n in vars(module) if n[0] != "_")) from None
    if not isinstance(found, expected):
        raise ManyheadsError(
            f"The {what} lies at {where!r}, which is {found!r}; expected a {expected.__name__}."
        )
    return found
