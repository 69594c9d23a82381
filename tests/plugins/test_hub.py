"""Packs go to a hub and come back: through `huggingface_hub`, to a server that speaks its protocol."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers import MANYHEADS, run

pytest.importorskip("huggingface_hub")
from hub_server import TOKEN, Hub, running_hub


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small world with a head, packed."""
    folder = tmp_path_factory.mktemp("hub")
    tiny = ["world.deter=16", "world.hidden=8", "world.units=8", "training.batch_size=2", "training.batch_length=8",
            "training.num_envs=2", "training.train_ratio=2", "training.compile=false"]  # fmt: skip
    settings = [f"--set={each}" for each in tiny]
    task = "gymnasium/Pendulum-v1-swingup"
    assert run(MANYHEADS, "train", folder / "world", task, "--steps", 40, *settings).returncode == 0
    assert run(MANYHEADS, "pack", folder / "world", "--out", folder / "swing.pack").returncode == 0
    return folder / "swing.pack"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as hub:
        yield hub


def manyheads(folder: Path, endpoint: str, *arguments: object, token: str = TOKEN) -> str:
    """Runs a command with its own hub; gives what it printed, errors too."""
    own = {"HF_ENDPOINT": endpoint, "HF_TOKEN": token, "HF_HOME": str(folder / "hf"), "HF_HUB_DISABLE_XET": "1"}
    result = run(MANYHEADS, *arguments, cwd=folder, env={**os.environ, "HF_HUB_OFFLINE": "0", **own})
    assert "Traceback" not in result.stderr, result.stderr
    return result.stdout + result.stderr


def test_a_pack_comes_back_byte_for_byte(pack: Path, hub: Hub, tmp_path: Path) -> None:
    assert f"is at {hub.url}/ada/swing" in manyheads(
        tmp_path, hub.url, "push", pack, "ada/swing", "--message", "Swing!"
    )
    assert {*hub.repositories["ada/swing"]} == {"README.md", "swing.pack"}
    assert hub.repositories["ada/swing"]["README.md"].startswith(b"---\nlibrary_name: manyheads")
    assert hub.messages == ["Swing!"]
    assert "Wrote swing.pack with gymnasium/Pendulum-v1-swingup" in manyheads(tmp_path, hub.url, "pull", "ada/swing")
    assert (tmp_path / "swing.pack").read_bytes() == pack.read_bytes()
    assert "Wrote swing.pack" in manyheads(tmp_path, hub.url, "pull", "ada/swing")
    (tmp_path / "swing.pack").write_text("mine")
    assert "swing.pack is another file" in manyheads(tmp_path, hub.url, "pull", "ada/swing")
    assert (tmp_path / "swing.pack").read_text() == "mine"


def test_a_pack_that_was_changed_on_the_hub_is_not_kept(pack: Path, hub: Hub, tmp_path: Path) -> None:
    changed = bytearray(pack.read_bytes())
    changed[len(changed) // 2] ^= 1
    hub.repositories["ada/swing"] = {"swing.pack": bytes(changed)}
    said = manyheads(tmp_path, hub.url, "pull", "ada/swing")
    assert "Get it again from whoever made it." in said
    assert not (tmp_path / "swing.pack").exists()


def test_what_goes_wrong_is_said_with_the_next_step(pack: Path, hub: Hub, tmp_path: Path) -> None:
    assert "There is no repository ada/none" in manyheads(tmp_path, hub.url, "pull", "ada/none")
    assert "answered 401" in manyheads(tmp_path, hub.url, "push", pack, "ada/swing", token="hf_wrong")
    assert "is not a repository's name" in manyheads(tmp_path, hub.url, "pull", "a//b")
    hub.repositories["ada/many"] = {"a.pack": b"", "b.pack": b""}
    assert "several packs; there: a.pack, b.pack. Choose one with --file" in manyheads(
        tmp_path, hub.url, "pull", "ada/many"
    )
    hub.repositories["ada/text"] = {"README.md": b""}
    assert "ada/text has no pack; there: none." in manyheads(tmp_path, hub.url, "pull", "ada/text")
    assert "no such revision" in manyheads(tmp_path, hub.url, "pull", "ada/many", "--revision", "old")
    assert "There is no pack" in manyheads(tmp_path, hub.url, "push", tmp_path / "x.pack", "ada/swing")


def test_without_a_network(pack: Path, tmp_path: Path) -> None:
    for command in (["push", pack, "ada/swing"], ["pull", "ada/swing"]):
        said = manyheads(tmp_path, "http://127.0.0.1:9", *command)
        assert "http://127.0.0.1:9 can't be reached" in said
        assert "try again with a network, or hand on the file itself" in said
