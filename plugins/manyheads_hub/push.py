"""`manyheads push`: a pack and its model card to the hub."""

from __future__ import annotations

from pathlib import Path

import click

from manyheads.storage.packs import CARD, Pack
from manyheads_hub.client import client, endpoint, explained


@click.command()
@click.argument("pack", type=click.Path(path_type=Path))
@click.argument("repository", metavar="OWNER/NAME")
@click.option("--private", is_flag=True, help="a new repository is for you alone")
@click.option("--message", default="", help="of the commit")
def push(pack: Path, repository: str, private: bool, message: str) -> None:
    """Put PACK and its model card into the repository OWNER/NAME, which is made if it is not there.

    Your token is found where `hf auth login` put it, or in HF_TOKEN.
    """
    opened = Pack.open(pack)
    card = opened.read(CARD)
    for name in opened.manifest.files:
        opened.read(name)
    api = client()
    with explained(repository, "writing to"):
        from huggingface_hub import CommitOperationAdd

        api.create_repo(repository, private=private, exist_ok=True)
        api.create_commit(
            repository,
            [CommitOperationAdd(CARD, card), CommitOperationAdd(pack.name, pack)],
            commit_message=message or f"Add {pack.name}",
        )
    click.echo(f"{pack} is at {endpoint()}/{repository}. `manyheads pull {repository}` gets it.")
