"""Packs on the Hugging Face hub: `manyheads push` and `manyheads pull`."""

from manyheads.commands import Commands
from manyheads.hookspecs import hookimpl


@hookimpl
def register_commands(commands: Commands) -> None:
    needs = ("huggingface_hub",), "hub"
    commands.add_lazy("push", "manyheads_hub.push:push", "put a pack on the Hugging Face hub", *needs)
    commands.add_lazy("pull", "manyheads_hub.pull:pull", "get a pack from the Hugging Face hub", *needs)
