"""Errors a user can act on: they name the culprit, what was expected and the next step."""

from collections.abc import Iterable
from difflib import get_close_matches


class ManyheadsError(Exception):
    """A mistake or a missing thing outside the program: shown on one screen without a traceback, exit code 1."""


class ForeignError(ManyheadsError):
    """Code of a plugin or a user failed; nothing is wrong with what was learned so far, which can be saved.

    `words` are the failed code's own, where there are any.
    """

    def __init__(self, message: str, words: str = "") -> None:
        super().__init__(message)
        self.words = words


def unknown(kind: str, name: str, known: Iterable[str], listing: str = "") -> ManyheadsError:
    """The error for a misspelt name: `unknown("environment", "dmc/wlaker", names, "manyheads list environments")`."""
    names = sorted(known)
    near = get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    listing = f" `{listing}` shows what there is." if listing else ""
    if not near and not listing and len(names) <= 60:
        hint = f" Known: {', '.join(names) or 'none'}."
    return ManyheadsError(f"There is no {kind} named {name!r}.{hint}{listing}")
