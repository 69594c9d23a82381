"""`manyheads pull`: a pack from the hub, checked before it is kept."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import click

from manyheads import ManyheadsError, atomic
from manyheads.storage.packs import SUFFIX, Pack
from manyheads_hub.client import client, explained

if TYPE_CHECKING:
    from huggingface_hub import HfApi


@click.command()
@click.argument("repository", metavar="OWNER/NAME")
@click.option("--file", help="which pack, where the repository has several")
@click.option("--revision", help="a branch, tag or commit; default: the newest")
@click.option("--out", type=click.Path(path_type=Path), help="where it goes; default: here, under its own name")
def pull(repository: str, file: str | None, revision: str | None, out: Path | None) -> None:
    """Get a pack from the repository OWNER/NAME. A pack that was changed since it was made is refused."""
    api = client()
    with explained(repository, "reading"):
        name = _choose(api, repository, file, revision)
        found = Path(api.hf_hub_download(repository, name, revision=revision))
    pack = Pack.open(found)
    for part in pack.manifest.files:
        pack.read(part)
    target = out or Path(Path(name).name)
    if target.exists() and out is None and target.read_bytes() != found.read_bytes():
        raise ManyheadsError(f"{target} is another file; --out {target} replaces it, another --out keeps both.")

    def copy(part: Path) -> None:
        shutil.copyfile(found, part)

    atomic.write(target, copy)
    heads = ", ".join(head.name for head in pack.manifest.heads) or "no heads"
    click.echo(f"Wrote {target} with {heads}. `manyheads unpack {target}` says what it is.")


def _choose(api: HfApi, repository: str, file: str | None, revision: str | None) -> str:
    """The pack's name in the repository."""
    packs = [name for name in api.list_repo_files(repository, revision=revision) if name.endswith(SUFFIX)]
    if file is not None and file in packs:
        return file
    if file is None and len(packs) == 1:
        return packs[0]
    listed = ", ".join(packs) or "none"
    problem = f"no pack {file}" if file is not None else "no pack" if not packs else "several packs"
    raise ManyheadsError(
        f"{repository} has {problem}; there: {listed}." + (" Choose one with --file." if packs else "")
    )
