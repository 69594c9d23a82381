"""Code of others, run in one way: whatever it raises or ends with is an error that says whose it is."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from manyheads.errors import ForeignError, ManyheadsError

CONTRACT = (
    "Gymnasium's reset returns (observation, info) and its step (observation, reward, terminated, truncated, info), "
    "info a dict."
)


T = TypeVar("T")


class Foreign:
    """Runs one environment's code. It finds the working folder that it left, and leaves everyone else theirs.

    Torch's gradient mode and default type are put back, too: an environment with its own network may change them.
    """

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self._folder = ""

    def run(self, what: str, function: Callable[[], T], part: str = "") -> T:
        """Calls `function`, which does `what`; raises ForeignError with the owner, `what` and the error's own words.

        `part` says which part of a step failed, where it is not the environment itself.

        Only KeyboardInterrupt is passed on: it is how a person ends what takes long.
        """
        ours, torch = _working_folder(), sys.modules.get("torch")
        modes = (torch.is_grad_enabled(), torch.get_default_dtype()) if torch else None
        if self._folder and self._folder != ours:
            _enter(self._folder)
        try:
            return function()
        except (ManyheadsError, KeyboardInterrupt):
            raise
        except BaseException as error:  # whatever it raises: also GeneratorExit, SystemExit, those of asyncio
            hint = f" {CONTRACT}" if isinstance(error, ValueError) and "values to unpack" in str(error) else ""
            message = f"{self.owner}: {what} failed: {words(error)}.{hint}"
            raise ForeignError(message, f"{part}{words(error)}") from error
        finally:
            self._folder = _working_folder()
            if self._folder != ours:
                _enter(ours)
            if torch and modes is not None and modes != (torch.is_grad_enabled(), torch.get_default_dtype()):
                torch.set_grad_enabled(modes[0])
                torch.set_default_dtype(modes[1])


def words(error: BaseException) -> str:
    """An error in its own words, without a full stop; SystemExit is what `sys.exit` raises.

    One without words is named with its place: `AssertionError in utils.py, line 142: assert joint is not None`.
    """
    if isinstance(error, SystemExit):
        code = "" if error.code is None else repr(error.code)
        return f"it called sys.exit({code}); an environment raises an error instead"
    text = str(error).strip().rstrip(".")
    if text:
        return f"{type(error).__name__}: {text}"
    *_, last = traceback.extract_tb(error.__traceback__) or [None]
    place = f" in {Path(last.filename).name}, line {last.lineno}: {last.line}" if last and last.line else ""
    return f"{type(error).__name__}{place}"


def read_only(value: Any) -> Any:
    """A nested observation whose arrays can't be written to; what is recorded is what the environment showed."""
    if isinstance(value, np.ndarray):
        view = value.view()
        view.flags.writeable = False
        return view
    if isinstance(value, dict):
        return {key: read_only(part) for key, part in value.items()}
    return tuple(map(read_only, value)) if type(value) is tuple else value


def _working_folder() -> str:
    try:
        return os.getcwd()  # noqa: PTH109
    except FileNotFoundError:  # somebody deleted it
        return ""


def _enter(folder: str) -> None:
    with suppress(OSError):
        os.chdir(folder)
