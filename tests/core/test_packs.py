"""Packs: made in one place and used in another, without training code; what was changed or does not fit is said."""

import json
import shutil
import zipfile
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from small_worlds import command, train

import manyheads
from helpers import python
from manyheads.errors import ManyheadsError
from manyheads.storage.manifest import manifest_digest
from manyheads.storage.packing import pack
from manyheads.storage.packs import Pack, PackManifest
from manyheads.storage.unpacking import unpack
from manyheads.storage.world_folder import WorldFolder

PENDULUM = "gymnasium/Pendulum-v1-swingup"
CARTPOLE = "gymnasium/CartPole-v1-balance"
WEIGHTS = "heads/gymnasium__CartPole-v1-balance/weights"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    world = train(tmp_path_factory.mktemp("packs") / "world", PENDULUM, CARTPOLE, steps=60)
    command("evaluate", world, PENDULUM, "--episodes", 1)
    return world


@pytest.fixture(scope="module")
def packed(world: Path) -> Path:
    out = world.with_name("swing.pack")
    command("pack", world, PENDULUM, "--out", out, "--licence", "CC0-1.0", "--with-replay")
    return out


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def rewrite(packed: Path, out: Path, changed: dict[str, bytes | None], sign: bool = False) -> Path:
    """The pack with other parts; signed, its manifest says so as one who packs would."""
    with zipfile.ZipFile(packed) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()} | changed
    parts = {name: data for name, data in parts.items() if data is not None}
    if sign:
        values = json.loads(parts["pack.json"])
        from manyheads.storage.manifest import digest_of

        values["files"] = {name: digest_of(data) for name, data in parts.items() if name != "pack.json"}
        values["digest"] = manifest_digest(values)
        parts["pack.json"] = json.dumps(values).encode()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)
    return out


def test_a_pack_acts_as_its_world_does_without_training_code_or_simulator(world: Path, packed: Path) -> None:
    code = f"""
import sys
import numpy as np
import manyheads
agent = manyheads.load({str(packed)!r})
action = agent.act(np.array([0.1, 0.2, 0.3], np.float32))
print(repr(action.tolist()))
wrong = [m for m in sys.modules if m.startswith(("manyheads.learning", "manyheads.experience", "manyheads.report"))]
assert not wrong, wrong
assert not any(m.startswith("gymnasium.envs.classic_control") for m in sys.modules)
"""
    result = python(code)
    assert result.returncode == 0, result.stderr
    expected = manyheads.load(world).head(PENDULUM).act(np.array([0.1, 0.2, 0.3], np.float32))
    assert result.stdout.strip() == repr(expected.tolist())


def rows(world: Path) -> int:
    with closing(WorldFolder.open(world).replay(read_only=True)) as replay:
        return replay.rows


def test_a_pack_becomes_a_world_that_can_be_trained_on(packed: Path, tmp_path: Path) -> None:
    command("unpack", packed, tmp_path / "other")
    shown = json.loads(command("show", tmp_path / "other", "--json"))
    [head] = shown["heads"]
    assert head["task"] == PENDULUM
    assert head["goal"] == "Swing the pendulum up and hold it upright with little torque."
    plain = ("--set", "training.compile=false")
    command("finetune", tmp_path / "other", CARTPOLE, "--updates", 2, "--no-check", *plain)
    command("evaluate", tmp_path / "other", "--episodes", 1)
    before = rows(tmp_path / "other")
    command("train", tmp_path / "other", PENDULUM, "--steps", 80, "--yes", *plain)
    assert set(manyheads.load(tmp_path / "other").heads) == {PENDULUM, CARTPOLE}
    assert rows(tmp_path / "other") - before == 20  # it came with 60 steps


def test_what_one_machine_was_told_stays_there(world: Path, packed: Path, tmp_path: Path) -> None:
    unpacked = manyheads.open_world(unpack(Pack.open(packed), tmp_path / "other").path).folder.saved_settings
    before = manyheads.open_world(world).folder.saved_settings
    assert (before.training.compile, unpacked.training.compile) == (False, True)
    assert unpacked.training.batch_size == before.training.batch_size


def test_the_card_and_the_manifest_hold_the_evidence(packed: Path) -> None:
    card = command("unpack", packed)
    assert card.startswith("---\nlibrary_name: manyheads\n")
    assert "license: cc0-1.0" in card
    assert 'agent = manyheads.load("swing.pack")' in card
    assert "| head | " in card
    manifest = PackManifest.model_validate_json(command("unpack", packed, "--json"))
    [head] = manifest.heads
    assert {each.policy for each in head.evaluations} == {"random", "head"}
    assert head.evaluations[1].episodes[0].seed >= 10_000_000
    assert {"manyheads", "torch", "gymnasium", "python"} <= {*manifest.versions}
    assert manifest.world.replay
    assert not any(".latents" in name or "learner" in name for name in manifest.files)


def test_equal_worlds_give_equal_packs(world: Path, packed: Path, tmp_path: Path) -> None:
    command("pack", world, PENDULUM, "--out", tmp_path / "swing.pack", "--licence", "CC0-1.0", "--with-replay")
    assert (tmp_path / "swing.pack").read_bytes() == packed.read_bytes()


def test_a_head_alone_joins_its_own_world_and_no_other(world: Path, tmp_path: Path) -> None:
    command("pack", world, CARTPOLE, "--out", tmp_path / "alone.pack", "--without-world")
    alone = Pack.open(tmp_path / "alone.pack")
    own = shutil.copytree(world, tmp_path / "own")
    with pytest.raises(ManyheadsError, match="has a head named gymnasium/CartPole-v1-balance already"):
        unpack(alone, own)
    shutil.rmtree(own / "heads" / "gymnasium__CartPole-v1-balance")
    unpack(alone, own)
    state = np.zeros(4, np.float32)
    acts = [manyheads.load(folder).head(CARTPOLE, seed=3).act(state) for folder in (world, own)]
    assert acts[0] == acts[1]
    other = train(tmp_path / "other", PENDULUM, CARTPOLE, steps=70, settings=("seed=1",))
    with pytest.raises(ManyheadsError, match="there they would act blindly"):
        unpack(alone, other)
    with pytest.raises(ManyheadsError, match="heads without their world"):
        unpack(alone, tmp_path / "new")
    with pytest.raises(ManyheadsError, match="heads without their world"):
        manyheads.load(tmp_path / "alone.pack")


def test_a_head_that_adapts_is_stale_in_another_world_and_fine_tuning_begins_with_it(
    world: Path, tmp_path: Path
) -> None:
    command("pack", world, CARTPOLE, "--out", tmp_path / "alone.pack", "--without-world")
    other = train(tmp_path / "other", CARTPOLE, PENDULUM, steps=70, settings=("seed=1",))
    shutil.rmtree(other / "heads" / "gymnasium__CartPole-v1-balance")
    said = command("unpack", tmp_path / "alone.pack", other, "--adapt")
    assert f"act blindly until `manyheads finetune {other} {CARTPOLE}`" in said
    folder = WorldFolder.open(other)
    assert folder.is_stale(CARTPOLE)
    joined, packed = (each.checkpoint.read(WEIGHTS) for each in (folder, WorldFolder.open(world)))
    assert joined.keys() == packed.keys()
    assert all(torch.equal(joined[name], packed[name]) for name in joined)
    command("finetune", other, CARTPOLE, "--updates", 2, "--no-check")
    folder = WorldFolder.open(other)
    assert not folder.is_stale(CARTPOLE)
    trained = folder.checkpoint.read(WEIGHTS)
    for name in (name for name in packed if name.startswith("actor.")):
        torch.testing.assert_close(trained[name], packed[name], rtol=0, atol=2e-3)


def test_a_head_adapts_only_to_a_world_that_has_its_entries_and_sizes(world: Path, tmp_path: Path) -> None:
    command("pack", world, CARTPOLE, "--out", tmp_path / "alone.pack", "--without-world")
    alone = Pack.open(tmp_path / "alone.pack")
    lacking = train(tmp_path / "lacking", PENDULUM, steps=60)
    before = sorted(path.name for path in lacking.rglob("*"))
    with pytest.raises(ManyheadsError, match=r"lacks entries of its world.*tasks of gymnasium/"):
        unpack(alone, lacking, adapt=True)
    wide = train(tmp_path / "wide", PENDULUM, CARTPOLE, steps=60, settings=("world.units=24",))
    shutil.rmtree(wide / "heads" / "gymnasium__CartPole-v1-balance")
    with pytest.raises(ManyheadsError, match=r"expected .*Heads can't adapt to a world of other sizes"):
        unpack(alone, wide, adapt=True)
    assert sorted(path.name for path in lacking.rglob("*")) == before


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("world.safetensors", "world.safetensors is another one"),
        ("heads/gymnasium__Pendulum-v1-swingup/task.yaml", "task.yaml is another one"),
        ("README.md", "README.md is another one"),
    ],
)
def test_a_changed_part_is_refused(packed: Path, tmp_path: Path, part: str, said: str) -> None:
    with zipfile.ZipFile(packed) as archive:
        data = bytearray(archive.read(part))
    data[len(data) // 2] ^= 1
    changed = rewrite(packed, tmp_path / "changed.pack", {part: bytes(data)})
    with pytest.raises(ManyheadsError, match=said):
        Pack.open(changed).read(part)
    if part != "README.md":
        with pytest.raises(ManyheadsError, match=said):
            manyheads.load(changed)
        assert not [*(tmp_path / "cache").rglob("world.yaml")]


def test_a_changed_manifest_is_refused(packed: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(packed) as archive:
        values = json.loads(archive.read("pack.json"))
    better = json.dumps({**values, "licence": "MIT"}).encode()
    with pytest.raises(ManyheadsError, match=r"pack.json is not what was written"):
        Pack.open(rewrite(packed, tmp_path / "a.pack", {"pack.json": better}))
    newer = json.dumps({**values, "format": 99}).encode()
    with pytest.raises(ManyheadsError, match="written by a newer manyheads"):
        Pack.open(rewrite(packed, tmp_path / "b.pack", {"pack.json": newer}))
    with pytest.raises(ManyheadsError, match=r"'evil.py' came or went"):
        Pack.open(rewrite(packed, tmp_path / "c.pack", {"evil.py": b"boom"}))
    with pytest.raises(ManyheadsError, match=r"'README.md' came or went"):
        Pack.open(rewrite(packed, tmp_path / "d.pack", {"README.md": None}))
    with pytest.raises(ManyheadsError, match="would lie outside its folder"):
        Pack.open(rewrite(packed, tmp_path / "e.pack", {"../../evil.py": b"boom"}, sign=True))
    other = json.dumps({**values, "world": {**values["world"], "hash": "0" * 64}}).encode()
    with pytest.raises(ManyheadsError, match="its world is not 000000000000, as it says"):
        manyheads.load(rewrite(packed, tmp_path / "f.pack", {"pack.json": other}, sign=True))


def test_no_pack_at_all(tmp_path: Path, packed: Path) -> None:
    with pytest.raises(ManyheadsError, match="There is no pack"):
        Pack.open(tmp_path / "none.pack")
    (tmp_path / "text.pack").write_text("hello")
    with pytest.raises(ManyheadsError, match="is not a pack, or was cut short"):
        manyheads.load(tmp_path / "text.pack")
    (tmp_path / "cut.pack").write_bytes(packed.read_bytes()[:-100])
    with pytest.raises(ManyheadsError, match="is not a pack, or was cut short"):
        Pack.open(tmp_path / "cut.pack")


PYTHON = """
version: 1
environment: gymnasium/Pendulum-v1
reward: {source: python, function: "math:sqrt", signals: [pole_angle]}
episode_steps: 20
goal: Run some code.
"""


def test_packs_never_carry_or_name_code(world: Path, packed: Path, tmp_path: Path) -> None:
    (tmp_path / "code.yaml").write_text(PYTHON.replace("math:sqrt", "numpy:negative"))
    part = "heads/gymnasium__Pendulum-v1-swingup/task.yaml"
    changed = rewrite(packed, tmp_path / "code.pack", {part: PYTHON.encode()}, sign=True)
    with pytest.raises(ManyheadsError, match="is a Python function, and packs never carry or name code"):
        manyheads.load(changed)
    named = PYTHON.replace("gymnasium/Pendulum-v1", "gymnasium/antigravity:Fly-v0").replace(
        'source: python, function: "math:sqrt", signals: [pole_angle]', "source: environment"
    )
    changed = rewrite(packed, tmp_path / "module.pack", {part: named.encode()}, sign=True)
    with pytest.raises(ManyheadsError, match="names a module in its environment"):
        manyheads.load(changed)
    with zipfile.ZipFile(packed) as archive:
        described = archive.read("world.yaml").replace(b"gymnasium/CartPole-v1", b"gymnasium/antigravity:Fly-v0")
    changed = rewrite(packed, tmp_path / "elsewhere.pack", {"world.yaml": described}, sign=True)
    with pytest.raises(ManyheadsError, match="names a module in its environment"):
        manyheads.load(changed)
    own = shutil.copytree(world, tmp_path / "own")
    (own / "heads" / "gymnasium__Pendulum-v1-swingup" / "task.yaml").write_text(PYTHON)
    with pytest.raises(ManyheadsError, match="packs never carry or name code"):
        pack(manyheads.load(own), [PENDULUM], tmp_path / "x.pack")


def test_what_cannot_be_packed_is_said(world: Path, tmp_path: Path) -> None:
    loaded = manyheads.load(world)
    with pytest.raises(ManyheadsError, match="There is nothing to pack"):
        pack(loaded, [], tmp_path / "x.pack", world=False)
    with pytest.raises(ManyheadsError, match="leave out --without-world"):
        pack(loaded, [PENDULUM], tmp_path / "x.pack", world=False, replay=True)
    with pytest.raises(ManyheadsError, match="There is no head"):
        pack(loaded, ["walk"], tmp_path / "x.pack")
    bare = shutil.copytree(world, tmp_path / "bare", ignore=shutil.ignore_patterns("replay"))
    with pytest.raises(ManyheadsError, match="has no replay to pack"):
        pack(manyheads.load(bare), [PENDULUM], tmp_path / "x.pack", replay=True)
    with pytest.raises(ManyheadsError, match=r"has 2 heads .* name one of them"):
        loaded.act(np.zeros(3, np.float32))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    command("pack", world, PENDULUM, "--out", tmp_path / "ok.pack")
    with pytest.raises(ManyheadsError, match="is there already and holds no world"):
        unpack(Pack.open(tmp_path / "ok.pack"), tmp_path / "full")
