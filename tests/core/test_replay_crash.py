"""What a crash leaves: torn tails are cut off, damage is named, and no row that was added is lost."""

import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from fake_experience import INTERFACE, random_latents, random_rows, recorded
from hypothesis import given, settings
from hypothesis import strategies as st
from test_replay import fill, small

from manyheads.errors import ManyheadsError


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 60), cut=st.integers(0, 10_000))
def test_a_tail_torn_at_any_byte_is_cut_off(tmp_path_factory: pytest.TempPathFactory, rows: int, cut: int) -> None:
    folder = tmp_path_factory.mktemp("replay")
    replay = small(folder, capacity_rows=2000)  # chunks of 31 rows
    stream = replay.open_stream(recorded())
    written = fill(replay, [stream], rows)
    replay.close()
    newest = max(folder.glob("stream-*/*.rows"))
    width = sum(path.stat().st_size for path in folder.glob("stream-*/*.rows")) // rows
    size = newest.stat().st_size
    keep = cut % (size + 1)
    with newest.open("r+b") as file:
        file.truncate(keep)
    kept = rows - (size - keep + width - 1) // width
    replay = small(folder)
    assert replay.rows == kept
    assert len(replay.repairs) == (keep % width > 0)
    if kept:
        assert np.array_equal(replay.episodes()[0].vector, np.stack([r.vector[0] for r in written[: min(10, kept)]]))
        fill_on = 10 - kept % 10 if kept % 10 else 0
        assert replay.episodes()[-1].is_open == bool(fill_on)
    replay.close()
    assert small(folder).repairs == []


def test_a_last_row_that_was_half_written_in_place_is_cut_off(tmp_path: Path) -> None:
    replay = small(tmp_path)
    fill(replay, [replay.open_stream(recorded())], 12)
    replay.close()
    damage(next(tmp_path.glob("stream-*/*.rows")), row=11, rows=12)
    replay = small(tmp_path)
    assert replay.rows == 11
    assert "cut off" in replay.repairs[0]


def test_damage_in_the_middle_names_the_file(tmp_path: Path) -> None:
    replay = small(tmp_path)
    fill(replay, [replay.open_stream(recorded())], 12)
    replay.close()
    path = next(tmp_path.glob("stream-*/*.rows"))
    damage(path, row=5, rows=12)
    with pytest.raises(ManyheadsError, match=f"{path} is damaged at row 5"):
        small(tmp_path)


def test_an_older_file_cut_short_or_gone_is_damage(tmp_path: Path) -> None:
    replay = small(tmp_path, capacity_rows=1024)
    fill(replay, [replay.open_stream(recorded())], 60)
    replay.close()
    oldest, second, *_ = sorted(tmp_path.glob("stream-*/*.rows"))
    content = second.read_bytes()
    second.write_bytes(content[:-3])
    with pytest.raises(ManyheadsError, match="is damaged at row 15"):
        small(tmp_path)
    second.unlink()
    with pytest.raises(ManyheadsError, match="rows 16 to 32 are missing"):
        small(tmp_path)
    assert oldest.exists()


def test_a_missing_sidecar_is_named(tmp_path: Path) -> None:
    replay = small(tmp_path)
    fill(replay, [replay.open_stream(recorded())], 12)
    replay.close()
    next(tmp_path.glob("stream-*/stream.json")).unlink()
    with pytest.raises(ManyheadsError, match=r"stream.json is missing"):
        small(tmp_path)


def test_missing_latents_are_only_missing(tmp_path: Path) -> None:
    replay = small(tmp_path)
    fill(replay, [replay.open_stream(recorded())], 30)
    replay.close()
    for path in tmp_path.glob("stream-*/*.latents"):
        path.unlink()
    replay = small(tmp_path)
    assert replay.rows == 30
    assert replay.sample(4, 10)[1].missing.all()


def test_no_row_is_lost_to_kill_9_at_ten_random_moments(tmp_path: Path) -> None:
    moments = random.Random(0)
    promised = []
    for _ in range(10):
        reading, writing = os.pipe()
        writer = os.fork()
        if writer == 0:
            write_until_killed(tmp_path, writing)
        os.close(writing)
        assert os.read(reading, 1) == b"+"
        time.sleep(moments.uniform(0.0, 0.1))
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
        with os.fdopen(reading, "rb") as pipe:
            promised.append(1 + len(pipe.read()))
    replay = small(tmp_path)
    for run, count in enumerate(promised):
        for stream in range(3 * run, 3 * run + 3):
            stop = replay.stop(stream)
            assert stop in (count, count + 1)
            rows = [episode.vector[:, 0] for episode in replay.episodes() if episode.stream.number == stream]
            assert np.array_equal(np.concatenate(rows), np.arange(stop))
    assert sum(promised) > 100


def write_until_killed(folder: Path, pipe: int) -> None:
    """A child process's life: adds rows that count up, with a byte to `pipe` each time `add` returns."""
    try:
        replay = small(folder)
        streams = [replay.open_stream(recorded()) for _ in range(3)]
        generator = np.random.default_rng(0)
        for t in range(10**9):
            first, last = [t % 50 == 0] * 3, [t % 50 == 49] * 3
            if first[0]:
                episodes = [replay.new_episode() for _ in streams]
            rows = random_rows(generator, INTERFACE, first, last, episodes, [t % 50] * 3)
            rows.vector[:] = t
            replay.add(streams, rows, *random_latents(generator, 3))
            os.write(pipe, b"+")
    finally:
        os._exit(1)


def damage(path: Path, row: int, rows: int) -> None:
    content = bytearray(path.read_bytes())
    content[row * len(content) // rows + 20] ^= 1
    path.write_bytes(content)
