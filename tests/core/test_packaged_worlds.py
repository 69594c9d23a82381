"""Worlds that come with manyheads are found by name, unpacked once, and are the user's own from then on."""

import json
from pathlib import Path

import pytest
from small_worlds import command, train

import manyheads
from manyheads.storage import packaged_worlds
from manyheads.storage.packaged_worlds import world_path
from manyheads.storage.packs import Pack

PENDULUM = "gymnasium/Pendulum-v1-swingup"


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packaged")
    train(folder / "world", "gymnasium/Pendulum-v1-wander", steps=60)
    command("pack", folder / "world", "--world-only", "--with-replay", "--out", folder / "tiny.pack")
    return folder / "tiny.pack"


def test_a_packaged_world_gains_heads_that_stay(pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged_worlds, "packaged_worlds", lambda: {"tiny": pack})
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    assert json.loads(command("show", "tiny", "--json"))["heads"] == []
    command("finetune", "tiny", PENDULUM, "--updates", 2, "--no-check", "--set", "training.compile=false")
    [head] = json.loads(command("show", "tiny", "--json"))["heads"]
    assert head["task"] == PENDULUM
    assert manyheads.load("tiny").heads == (PENDULUM,)
    assert world_path("tiny").is_relative_to(tmp_path / "data" / "manyheads" / "worlds")
    (tmp_path / "tiny").mkdir()
    assert world_path("tiny") == Path("tiny")
    assert world_path("other") == Path("other")


def test_what_is_packaged_is_whole_and_small() -> None:
    for path in packaged_worlds.packaged_worlds().values():
        pack = Pack.open(path)
        assert path.stat().st_size <= 20_000_000
        assert pack.manifest.licence
        for name in pack.manifest.files:
            pack.read(name)
