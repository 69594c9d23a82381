"""A page in the browser, `manyheads web FOLDER`: worlds, their curves, heads and replay; goals in words."""

from typing import TYPE_CHECKING

from manyheads.hookspecs import hookimpl

if TYPE_CHECKING:
    from manyheads.commands import Commands


@hookimpl
def register_commands(commands: "Commands") -> None:
    needs = ("starlette", "uvicorn"), "web"
    commands.add_lazy("web", "manyheads_web.command:web", "show a folder's worlds as a page in the browser", *needs)
