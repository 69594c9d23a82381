"""The packaged tasks: one YAML file each, named `plugin/thing-goal` after its place in this folder."""

from collections.abc import Callable
from pathlib import Path

from manyheads import hookimpl


@hookimpl
def register_tasks(register: Callable[[Path], None]) -> None:
    register(Path(__file__).parent)
