"""Checkpoints: complete sets in force at once, damage and newer formats said plainly, nothing lost on a full disk."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError

from manyheads import ManyheadsError, atomic
from manyheads.storage import checkpoint
from manyheads.storage.checkpoint import FORMAT, MANIFEST, Checkpoint


def save(folder: Path, value: float, step: int) -> None:
    Checkpoint(folder).write(
        {"world": {"w": torch.full((3,), value)}, "heads/a/weights": {"h": torch.ones(2) * value}},
        {"steps": step},
    )


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    save(tmp_path, 1.5, 10)
    found = Checkpoint(tmp_path)
    assert found.state == {"steps": 10}
    assert torch.equal(found.read("world")["w"], torch.full((3,), 1.5))


def test_sets_that_are_not_written_again_stay_in_force(tmp_path: Path) -> None:
    save(tmp_path, 1.0, 10)
    Checkpoint(tmp_path).write({"heads/a/weights": {"h": torch.zeros(2)}}, {"steps": 11})
    found = Checkpoint(tmp_path)
    assert torch.equal(found.read("world")["w"], torch.ones(3))
    assert torch.equal(found.read("heads/a/weights")["h"], torch.zeros(2))
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2


def test_a_crash_between_weights_and_manifest_leaves_the_last_set_in_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, 1.0, 10)

    def crash(path: Path, value: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(atomic, "write_json", crash)
        with pytest.raises(KeyboardInterrupt):
            save(tmp_path, 2.0, 20)
    assert Checkpoint(tmp_path).state == {"steps": 10}
    assert torch.equal(Checkpoint(tmp_path).read("world")["w"], torch.ones(3))
    save(tmp_path, 3.0, 30)
    assert torch.equal(Checkpoint(tmp_path).read("world")["w"], torch.full((3,), 3.0))
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2


def test_a_full_disk_is_said_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, 1.0, 10)

    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, "fsync", full)
        with pytest.raises(
            ManyheadsError, match=r"world.000002.safetensors: No space left on device. Nothing that was"
        ):
            save(tmp_path, 2.0, 20)
    assert Checkpoint(tmp_path).state == {"steps": 10}
    assert not list(tmp_path.rglob(".*.part"))


@pytest.mark.parametrize(
    ("number", "message"),
    [(28, "No space left on device. .*; make room"), (13, "Permission denied. .*; choose a place")],
)
def test_a_disk_that_refuses_weights_is_said(
    number: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(tensors: object, part: Path) -> None:
        raise SafetensorError(f"Error while serializing: I/O error: something (os error {number})")

    monkeypatch.setattr(checkpoint, "save_file", refuse)
    with pytest.raises(ManyheadsError, match=rf"world\.000001\.safetensors: {message}"):
        save(tmp_path, 1.0, 10)


def test_a_file_that_this_user_may_not_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, 1.0, 10)
    plain = checkpoint.os.open

    def refuse(path: Path, *arguments: int) -> int:
        if str(path).endswith(".safetensors"):
            raise PermissionError(13, "Permission denied")
        return plain(path, *arguments)

    monkeypatch.setattr(checkpoint.os, "open", refuse)
    with pytest.raises(ManyheadsError, match=r"world\.000001\.safetensors can't be read: let this user"):
        Checkpoint(tmp_path).read("world")


@pytest.mark.parametrize("at", [0, 40, -1])
def test_one_flipped_byte_in_weights_is_named(tmp_path: Path, at: int) -> None:
    save(tmp_path, 1.0, 10)
    path = tmp_path / "world.000001.safetensors"
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    with pytest.raises(ManyheadsError, match=r"world.000001.safetensors is damaged: its digest is not"):
        Checkpoint(tmp_path).read("world")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    save(tmp_path, 1.0, 10)
    (tmp_path / "world.000001.safetensors").unlink()
    with pytest.raises(ManyheadsError, match=r"world.000001.safetensors can't be read \(.*No such file"):
        Checkpoint(tmp_path).read("world")


def test_what_a_reader_reads_belongs_together_whatever_is_saved_meanwhile(tmp_path: Path) -> None:
    save(tmp_path, 1.0, 10)
    reader = Checkpoint(tmp_path)
    for value in (2.0, 3.0):
        save(tmp_path, value, 20)
    assert reader.read("world")["w"][0] == reader.read("heads/a/weights")["h"][0] == 1.0
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2


def test_a_reader_that_comes_while_files_are_replaced_reads_the_manifest_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, 1.0, 10)
    read, calls = checkpoint.read_manifest, []

    def late(folder: Path) -> Any:
        manifest = read(folder)
        if not calls:
            calls.append(1)
            save(tmp_path, 2.0, 20)
        return manifest

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "read_manifest", late)
        reader = Checkpoint(tmp_path)
    assert reader.state == {"steps": 20}
    assert reader.read("world")["w"][0] == 2.0


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("generation", "12", r"generation: Input should be a valid integer"),
        ("files", ["world"], r"files: Input should be (an object|a valid dictionary)"),
        ("state", {"steps": "ten"}, r"state\.steps: Input should be a valid integer"),
        ("state", {"runs": {"train": {"steps": 1}}}, r"state\.runs\.train\.updates: Field required"),
        ("state", {"stepz": 3}, r"state\.stepz: Extra inputs are not permitted"),
        ("generation", 2, r"digest: it is not that of the file's content"),
    ],
)
def test_a_wrong_value_in_the_manifest_is_one_line_with_its_key(
    tmp_path: Path, key: str, value: object, message: str
) -> None:
    save(tmp_path, 1.0, 10)
    values = json.loads((tmp_path / MANIFEST).read_text())
    (tmp_path / MANIFEST).write_text(json.dumps({**values, key: value}))
    with pytest.raises(ManyheadsError, match=rf"checkpoint\.json is damaged or was edited: {message}") as error:
        Checkpoint(tmp_path)
    assert "\n" not in str(error.value)


def test_two_writers_do_not_share_parts_and_abandoned_ones_are_deleted(tmp_path: Path) -> None:
    path, seen = tmp_path / "a.json", []

    def fill(part: Path) -> None:
        seen.append(part)
        part.write_text("outer")
        if len(seen) == 1:
            atomic.write(path, fill)
            assert part.exists(), "another writer's part is left alone"

    (tmp_path / ".a.json.part").write_text("left by a killed process")
    (tmp_path / ".a.json.0123abcd.part").write_text("left by a killed process")
    atomic.write(path, fill)
    assert len(set(seen)) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_all_files_have_the_mode_that_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        save(tmp_path, 1.0, 10)
    finally:
        os.umask(before)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o640}
    assert len(files) == 3


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    save(tmp_path, 1.0, 10)
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    (tmp_path / MANIFEST).write_text(json.dumps(manifest | {"format": FORMAT + 1}))
    with pytest.raises(ManyheadsError, match=r"written by a newer manyheads .* Upgrade with"):
        Checkpoint(tmp_path)


def test_a_half_written_manifest_is_named(tmp_path: Path) -> None:
    save(tmp_path, 1.0, 10)
    (tmp_path / MANIFEST).write_text('{"format": 1, "gener')
    with pytest.raises(ManyheadsError, match=r"checkpoint.json can't be read"):
        Checkpoint(tmp_path)


def test_weights_whose_manifest_is_missing_are_not_taken_for_a_new_world(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path)
    checkpoint.write({"world": {"w": torch.zeros(2)}}, {})
    (tmp_path / "checkpoint.json").unlink()
    assert not Checkpoint(tmp_path).names  # a first save that was cut short
    checkpoint.write({"heads/a/weights": {"w": torch.zeros(2)}}, {})
    (tmp_path / "checkpoint.json").unlink()
    with pytest.raises(ManyheadsError, match=r"checkpoint\.json is missing"):
        Checkpoint(tmp_path)


def test_a_place_that_is_no_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ManyheadsError, match=r"Could not write .*file/a\.json: .*; choose a place that can be written"):
        atomic.write_json(tmp_path / "file" / "a.json", {})
