"""Replay: what a batch holds, how it starts, what is dropped, and what goes wrong in plain words."""

import json
import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_experience import INTERFACE, LAYOUT, PICTURED, random_latents, random_rows, recorded

from manyheads.environment.layout import SpaceLayout
from manyheads.errors import ManyheadsError
from manyheads.experience.latent_table import LatentLayout
from manyheads.experience.records import Rows
from manyheads.experience.replay import Replay


def fill(
    replay: Replay, streams: list[int], steps: int, seed: int = 0, every: int = 10, latents: bool = True
) -> list[Rows]:
    """Lock-steps of random rows; episodes of `every` rows."""
    generator = np.random.default_rng(seed)
    count = len(streams)
    written = []
    for t in range(steps):
        if t % every == 0:
            episode = [replay.new_episode() for _ in streams]
        first, last = [t % every == 0] * count, [t % every == every - 1] * count
        rows = random_rows(generator, replay.interface, first, last, episode, [t % every] * count)
        replay.add(streams, rows, *(random_latents(generator, count) if latents else (None, None)))
        written.append(rows)
    return written


def small(folder: Path | None = None, **options: object) -> Replay:
    return Replay(folder, INTERFACE, LAYOUT, **options)  # type: ignore[arg-type]


def test_a_window_starts_from_the_latent_and_action_of_the_row_before() -> None:
    replay = small()
    stream = replay.open_stream(recorded())
    rows = fill(replay, [stream], 40)
    batch, where = replay.sample(30, 8, online=False)
    for b, start in enumerate(where.starts.tolist()):
        if start == 0:
            assert where.missing[b]
            assert not batch.previous_action[b, 0].any()
            continue
        assert not where.missing[b]
        assert np.array_equal(batch.previous_action[b], np.stack([r.action[0] for r in rows[start - 1 : start + 7]]))
        deter, stoch = replay.episodes()[(start - 1) // 10].latents[:2]
        assert np.array_equal(batch.deter[b], deter[(start - 1) % 10])
        assert np.array_equal(batch.stoch[b], stoch[(start - 1) % 10])
        assert batch.is_first[b].tolist() == [t % 10 == 0 for t in range(start, start + 8)]


def test_a_window_without_a_stored_latent_starts_afresh_and_says_so() -> None:
    replay = small()
    fill(replay, [replay.open_stream(recorded())], 40, latents=False)
    batch, where = replay.sample(8, 5)
    assert where.missing.all()
    assert (batch.is_first[:, 0] | batch.reset_state[:, 0]).all()
    assert not (batch.is_first & batch.reset_state).any()
    assert batch.is_first[:, 0].tolist() == [start % 10 == 0 for start in where.starts]
    assert not batch.deter.any()
    assert not batch.stoch.any()


def test_written_latents_start_later_windows_and_the_newest_wins() -> None:
    replay = small()
    stream = replay.open_stream(recorded())
    fill(replay, [stream], 40, latents=False)
    batch, where = replay.sample(4, 10, online=True)
    assert sorted(where.starts.tolist()) == [0, 10, 20, 30]
    generator = np.random.default_rng(1)
    for _ in range(2):
        deter, stoch = (values.reshape(4, 10, *values.shape[1:]) for values in random_latents(generator, 40))
        replay.write_latents(where, LAYOUT.pack(deter, stoch))
    batch, again = replay.sample(50, 7, online=False)
    for b, start in enumerate(again.starts.tolist()):
        if start:
            row = where.starts.tolist().index((start - 1) // 10 * 10)
            assert np.array_equal(batch.deter[b], deter[row, (start - 1) % 10])
            assert np.array_equal(batch.stoch[b], stoch[row, (start - 1) % 10])


def test_gaussian_latents_are_kept_as_numbers() -> None:
    layout = LatentLayout(deter=2, groups=5, classes=1)
    stoch = np.linspace(-2, 2, 15).reshape(3, 5, 1)
    _, read = layout.decode(layout.encode(layout.pack(np.zeros((3, 2)), stoch)))
    assert np.allclose(read, stoch, atol=1e-3)


@pytest.mark.parametrize("classes", [1, 4, 300])
def test_arrays_and_tensors_are_packed_alike(classes: int) -> None:
    layout, random = LatentLayout(deter=2, groups=5, classes=classes), torch.Generator().manual_seed(0)
    deter = torch.randn(3, 4, 2, generator=random)
    stoch = torch.randn(3, 4, 5, classes, generator=random)
    if classes > 1:
        stoch = torch.nn.functional.one_hot(stoch.argmax(-1), classes).float()
    packed = layout.pack(deter, stoch)
    assert [x.shape for x in packed] == [(3, 4, 2), (3, 4, 5)]
    records = layout.encode(packed)
    assert np.array_equal(records, layout.encode(layout.pack(deter.double().numpy(), stoch.numpy())))
    for read, made in zip(layout.decode(records), (deter, stoch), strict=True):
        assert np.allclose(read, made, atol=2e-3)


def test_new_rows_are_drawn_once_before_others_are() -> None:
    replay = small()
    streams = [replay.open_stream(recorded()) for _ in range(2)]
    fill(replay, streams, 25)
    _, where = replay.sample(4, 10)
    assert sorted(zip(where.streams.tolist(), where.starts.tolist(), strict=True)) == [
        (0, 0),
        (0, 10),
        (1, 0),
        (1, 10),
    ]
    drawn = [tuple(replay.sample(4, 10)[1].starts.tolist()) for _ in range(5)]
    assert len(set(drawn)) > 1


def test_every_window_is_equally_likely() -> None:
    replay = small(seed=3)
    fill(replay, [replay.open_stream(recorded())], 12)
    fill(replay, [replay.open_stream(recorded())], 24)
    _, where = replay.sample(23_000, 8, online=False)
    counts = np.bincount(where.streams * 100 + where.starts)
    counts = counts[counts > 0]
    assert len(counts) == 5 + 17
    expected = 23_000 / 22
    assert ((counts - expected) ** 2 / expected).sum() < 60  # chi-squared with 21 degrees: p < 1e-5


def test_groups_share_a_batch_by_weight_and_signals_are_padded() -> None:
    replay = small()
    one = replay.open_stream(recorded("fake/one", ["reward", "height"]))
    two = replay.open_stream(recorded("fake/two", ["reward", "x", "y"]))
    fill(replay, [one], 200)
    rows = fill(replay, [two], 40)
    batch, where = replay.sample(16, 10, {"fake/one {}": 1.0, "fake/two {}": 3.0, "fake/none {}": 5.0}, online=False)
    assert batch.instance.tolist() == [0] * 4 + [1] * 12
    assert batch.signals.shape == (16, 10, 3)
    assert not batch.signals[:4, :, 2].any()
    start = int(where.starts[-1])
    wanted = np.stack([r.signals[0] for r in rows[start : start + 10]]).astype(np.float32)
    assert np.array_equal(batch.signals[-1], wanted)
    assert set(replay.sample(16, 10, streams=[two])[1].streams) == {two}
    assert replay.num_windows(10, [two]) == 31


def test_capacity_drops_whole_oldest_chunks(tmp_path: Path) -> None:
    replay = small(tmp_path, capacity_rows=100)
    stream = replay.open_stream(recorded())
    fill(replay, [stream], 300)
    kept = replay.rows
    assert 80 <= kept <= 100
    assert len(list(tmp_path.glob("stream-*/*.rows"))) == -(-kept // 16)
    assert replay.stop(stream) == 300
    _, where = replay.sample(200, 10, online=False)
    assert where.starts.min() == 300 - kept
    assert replay.episodes()[0].start >= 300 - kept
    replay.close()
    again = small(tmp_path, capacity_rows=100)
    assert (again.rows, again.stop(stream)) == (kept, 300)


@pytest.mark.parametrize("every", [7, 16, 50])
def test_stopping_changes_nothing_at_capacity(tmp_path: Path, every: int) -> None:
    """Chunks begin where they would have, so the same rows are dropped; nothing made in advance is left."""
    straight, stopped = (small(tmp_path / name, capacity_rows=1024, seed=1) for name in ("straight", "stopped"))
    streams = [[replay.open_stream(recorded()) for _ in range(2)] for replay in (straight, stopped)]
    for part in range(600 // every):
        for replay, own in zip((straight, stopped), streams, strict=True):
            fill(replay, own, every, seed=part, every=every)
        state = stopped.state()
        stopped.close()
        stopped = small(tmp_path / "stopped", capacity_rows=1024, seed=1)
        assert stopped.missing([state]) == []
        stopped.restore(state)
        assert stopped.rows == straight.rows
    straight.close()
    stopped.close()
    contents = [
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")
         if path.suffix in (".rows", ".latents")}
        for name in ("straight", "stopped")
    ]  # fmt: skip
    assert contents[0] == contents[1]
    assert len(contents[0]) > 100


@pytest.mark.parametrize("rows", [5, 16, 20])
def test_an_episode_that_breaks_off_ends_truncated_with_its_newest_row(tmp_path: Path, rows: int) -> None:
    replay = small(tmp_path, capacity_rows=1024)  # chunks of 16 rows
    stream = replay.open_stream(recorded())
    written = fill(replay, [stream], rows, every=100)
    replay.end_episode(stream)
    replay.end_episode(stream)
    fill(replay, [stream], 3)
    replay.close()
    replay = small(tmp_path)
    assert replay.repairs == []
    broken, new = replay.episodes()
    assert broken.is_last.tolist() == [False] * (rows - 1) + [True]
    assert not broken.is_terminal.any()
    assert np.array_equal(broken.action, np.stack([r.action[0] for r in written]))
    assert (len(new), new.is_open) == (3, True)


def test_rows_that_were_lost_since_the_checkpoint_are_said(tmp_path: Path) -> None:
    replay = small(tmp_path)
    fill(replay, [replay.open_stream(recorded())], 10)
    state = replay.state()
    replay.close()
    path = next(tmp_path.glob("stream-*/*.rows"))
    path.write_bytes(path.read_bytes()[:-200])
    (note,) = small(tmp_path).missing([state])
    assert "stream-00000 holds" in note
    assert "rows less than when the checkpoint was written" in note
    later = {**state, "episode": state["episode"] + 1, "stops": {"0": 5}}
    assert small(tmp_path).missing([state, later]) == [], "a stream's number was given again since"


def test_what_another_world_wrote_is_stale_and_so_is_what_was_damaged(tmp_path: Path) -> None:
    replay = small(tmp_path)
    fill(replay, [replay.open_stream(recorded())], 30)  # written by a world in training
    replay.world_id = 7
    assert [episode.start for episode in replay.stale_episodes()] == [0, 10, 20]
    for episode in replay.stale_episodes():
        deter, stoch = random_latents(np.random.default_rng(0), 10)
        replay.write_latents(episode.window_index, LAYOUT.pack(deter[None], stoch[None]))
    assert replay.stale_episodes() == []
    replay.world_id = 8
    assert len(replay.stale_episodes()) == 3
    replay.close()
    path = next(tmp_path.glob("stream-*/*.latents"))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    replay = small(tmp_path)
    replay.world_id = 7
    assert [episode.start for episode in replay.stale_episodes()] == [10]
    replay.close()
    path.unlink()
    replay = small(tmp_path)
    replay.world_id = 7
    assert len(replay.stale_episodes()) == 3


def test_rows_of_an_episode_whose_beginning_was_dropped_can_be_stale_too() -> None:
    replay = small(capacity_rows=40)
    fill(replay, [replay.open_stream(recorded())], 100, every=70)
    replay.world_id = 7
    stale = replay.stale_episodes()
    assert sum(map(len, stale)) == replay.rows
    assert stale[0].start > 0


def test_the_oldest_rows_of_all_streams_go_first(tmp_path: Path) -> None:
    replay = small(tmp_path, capacity_rows=200)
    streams = [replay.open_stream(recorded()) for _ in range(3)]
    for stream in streams:
        fill(replay, [stream], 100)
        replay.close_stream(stream)
    assert (replay.stop(streams[0]), replay.num_windows(1, [streams[2]])) == (None, 100)
    assert 80 <= replay.num_windows(1, [streams[1]]) <= 100
    assert not (tmp_path / "stream-00000").exists()


def test_capacity_in_bytes_counts_rows_and_latents() -> None:
    replay = small(capacity_bytes=20_000)
    fill(replay, [replay.open_stream(recorded())], 1000)
    assert 15_000 < replay.bytes <= 20_000


def test_latents_of_rows_dropped_meanwhile_are_passed_over() -> None:
    replay = small(capacity_rows=64)
    stream = replay.open_stream(recorded())
    fill(replay, [stream], 60)
    _, where = replay.sample(3, 20)
    assert where.starts.tolist() == [0, 20, 40]
    fill(replay, [stream], 30)
    kept = 90 - replay.rows
    assert 20 < kept < 40
    deter, stoch = (v.reshape(3, 20, *v.shape[1:]) for v in random_latents(np.random.default_rng(1), 60))
    replay.write_latents(where, LAYOUT.pack(deter, stoch))
    batch, read = replay.sample(100, 5, online=False)
    written = deter.reshape(60, -1)
    for b, start in enumerate(read.starts.tolist()):
        if kept < start <= 60:
            assert np.array_equal(batch.deter[b], written[start - 1])


def test_episodes_are_whole_newest_last_and_say_which_are_open() -> None:
    replay = small(capacity_rows=1000)
    one, two = replay.open_stream(recorded()), replay.open_stream(recorded("fake/two"))
    rows = fill(replay, [one, two], 25)
    episodes = replay.episodes()
    assert [episode.id for episode in episodes] == [0, 1, 2, 3, 4, 5]
    assert [episode.is_open for episode in episodes] == [False] * 4 + [True] * 2
    own = replay.episodes("fake/two {}")
    assert [len(episode) for episode in own] == [10, 10, 5]
    assert np.array_equal(own[1].vector, np.stack([r.vector[1] for r in rows[10:20]]))
    assert np.array_equal(own[1].action, np.stack([r.action[1] for r in rows[10:20]]))
    assert np.array_equal(own[1].signals["height"], [r.signals[1, 1] for r in rows[10:20]])
    assert own[1].image is None
    assert own[1].is_last.tolist() == [False] * 9 + [True]
    assert np.array_equal(replay.signals("fake/two {}")["height"], [r.signals[1, 1] for r in rows])
    assert replay.signals("fake/none {}") == {}


def test_latents_of_an_episode_can_be_recomputed() -> None:
    replay = small()
    fill(replay, [replay.open_stream(recorded())], 20, latents=False)
    episode = replay.episodes()[1]
    assert not episode.latents[2].any()
    deter, stoch = random_latents(np.random.default_rng(0), 10)
    replay.write_latents(episode.window_index, LAYOUT.pack(deter[None], stoch[None]))
    assert np.array_equal(episode.latents[0], deter)
    assert episode.latents[2].all()
    read = replay.read_latents(episode.window_index)
    assert np.array_equal(read[0][0], deter)
    assert np.array_equal(read[1][0], stoch)


def test_images_are_left_out_where_nobody_looks() -> None:
    batches = []
    for images in (True, False):
        replay = Replay(None, PICTURED, LAYOUT, seed=1)
        fill(replay, [replay.open_stream(recorded(layout=PICTURED))], 30)
        batches.append(replay.sample(3, 10, images=images)[0])
    seen, unseen = batches
    assert seen.image is not None
    assert unseen.image is None
    assert all(torch.equal(a, b) for a, b in zip(seen[1:-1], unseen[1:-1], strict=True))


def test_rows_are_read_under_an_interface_that_has_grown(tmp_path: Path) -> None:
    replay = Replay(tmp_path, PICTURED, LAYOUT)
    rows = fill(replay, [replay.open_stream(recorded(layout=PICTURED))], 30)
    replay.close()
    more = SpaceLayout(image=(3, 2, 3), vector=("c",), continuous=("pull",), discrete=(("jump", 2),))
    replay = Replay(tmp_path, PICTURED.union(more), LAYOUT)
    fill(replay, [replay.open_stream(recorded("fake/two"))], 30)
    batch, where = replay.sample(3, 10, streams=[0])
    for b, start in enumerate(where.starts.tolist()):
        pictures = np.stack([r.image[0] for r in rows[start : start + 10]])  # type: ignore[index]
        assert np.array_equal(batch.image[b, ..., :1], pictures)  # type: ignore[index]
        assert not batch.image[b, ..., 1:].any()  # type: ignore[index]
        assert np.array_equal(batch.vector[b, :, :2], np.stack([r.vector[0] for r in rows[start : start + 10]]))
        assert not batch.vector[b, :, 2].any()
        if start:
            before = np.stack([r.action[0] for r in rows[start - 1 : start + 9]])
            assert np.array_equal(batch.previous_action[b][:, [0, 2, 3, 4]], before)
            assert not batch.previous_action[b][:, [1, 5, 6]].any()


WIDE = SpaceLayout(image=(8, 8, 3), vector=("a", *(f"other {i}" for i in range(100))), continuous=("push", "pull"))
NARROW = SpaceLayout(vector=("a",), continuous=("pull",))


def test_rows_hold_what_their_environment_has_and_nothing_more(tmp_path: Path) -> None:
    replay = Replay(tmp_path, WIDE, LAYOUT)
    streams = [replay.open_stream(recorded("fake/wide", layout=WIDE)), replay.open_stream(recorded(layout=NARROW))]
    rows = fill(replay, streams, 30)
    wide, narrow = (next(tmp_path.glob(f"stream-{number:05d}/*.rows")).stat().st_size / 30 for number in streams)
    assert wide > 8 * 8 * 3 + 4 * 101
    assert narrow < 80
    batch, where = replay.sample(5, 10, streams=[streams[1]])
    assert batch.image is not None
    assert not batch.image.any()
    assert not batch.vector[..., 1:].any()
    assert not batch.action[..., 0].any()
    for b, start in enumerate(where.starts.tolist()):
        written = rows[start : start + 10]
        assert np.array_equal(batch.vector[b, :, 0], [r.vector[1, 0] for r in written])
        assert np.array_equal(batch.action[b, :, 1], [r.action[1, 1] for r in written])
    episode = next(each for each in replay.episodes() if each.instance.layout == WIDE)
    assert np.array_equal(episode.image, np.stack([r.image[0] for r in rows[:10] if r.image is not None]))
    assert np.array_equal(episode.vector, np.stack([r.vector[0] for r in rows[:10]]))


def test_a_stream_whose_rows_hold_everything_is_continued_as_it_began(tmp_path: Path) -> None:
    """As versions before wrote it: records of the whole interface, of an environment that has part of it."""
    replay = Replay(tmp_path, WIDE, LAYOUT)
    stream = replay.open_stream(recorded(layout=WIDE))
    before = fill(replay, [stream], 10)
    replay.close()
    sidecar = tmp_path / "stream-00000" / "stream.json"
    described = json.loads(sidecar.read_text())
    described["instance"]["layout"] = NARROW.model_dump(mode="json")
    sidecar.write_text(json.dumps(described))
    replay = Replay(tmp_path, WIDE, LAYOUT)
    after = fill(replay, [stream], 10, seed=1)
    actions = [episode.action for episode in replay.episodes()]
    assert np.array_equal(np.concatenate(actions), np.concatenate([r.action for r in (*before, *after)]))
    image = replay.sample(3, 10)[0].image
    assert image is not None
    assert not image.any()


def test_latents_of_another_size_are_forgotten(tmp_path: Path) -> None:
    replay = small(tmp_path)
    fill(replay, [replay.open_stream(recorded())], 30)
    replay.close()
    replay = Replay(tmp_path, INTERFACE, LatentLayout(deter=7, groups=3, classes=300))
    batch, where = replay.sample(5, 5)
    assert where.missing.all()
    assert batch.stoch.shape == (5, 3, 300)


def test_maps_beyond_the_limit_are_opened_again(tmp_path: Path) -> None:
    replay = small(tmp_path, capacity_rows=2000)
    replay._pool.limit = 2
    rows = fill(replay, [replay.open_stream(recorded())], 500)
    for _ in range(5):
        batch, where = replay.sample(8, 10, online=False)
        replay.write_latents(where, LAYOUT.pack(np.ones((8, 10, 3)), np.ones((8, 10, 2, 4))))
        start = int(where.starts[-1])
        assert np.array_equal(batch.vector[-1], np.stack([r.vector[0] for r in rows[start : start + 10]]))
    assert len(replay._pool._maps) == 2
    replay.write_latents(where, LAYOUT.pack(np.full((8, 10, 3), 0.5), np.ones((8, 10, 2, 4))))
    latents = np.concatenate([episode.latents[0] for episode in replay.episodes()])
    assert (latents[where.starts[0] : where.starts[0] + 10] == 0.5).all()


def test_only_one_process_writes_and_readers_change_nothing(tmp_path: Path) -> None:
    replay = small(tmp_path)
    fill(replay, [replay.open_stream(recorded())], 30)
    with pytest.raises(ManyheadsError, match="in use by another process"):
        small(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    reader = small(tmp_path, read_only=True)
    _, where = reader.sample(4, 10)
    assert reader.rows == 30
    with pytest.raises(ManyheadsError, match="for reading only"):
        reader.write_latents(where, LAYOUT.pack(np.zeros((4, 10, 3)), np.zeros((4, 10, 2, 4))))
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_too_few_rows_say_what_to_do() -> None:
    replay = small()
    fill(replay, [replay.open_stream(recorded())], 9)
    with pytest.raises(ManyheadsError, match=r"no 10 successive rows to draw from \(9 rows in all\)"):
        replay.sample(4, 10)


def test_a_number_that_is_not_finite_is_refused() -> None:
    replay = small()
    stream = replay.open_stream(recorded())
    fill(replay, [stream], 10)
    rows = random_rows(np.random.default_rng(0), INTERFACE, [True], [False], [1], [0])
    rows.action[0, 1] = np.nan
    with pytest.raises(ManyheadsError, match="action is not finite"):
        replay.add([stream], rows)
    assert replay.rows == 10


def test_flags_that_contradict_each_other_are_refused() -> None:
    replay = small()
    stream = replay.open_stream(recorded())
    with pytest.raises(ValueError, match="`is_first` is False"):
        replay.add([stream], random_rows(np.random.default_rng(0), INTERFACE, [False], [False], [0], [0]))


def test_a_full_disk_is_a_clear_error_and_loses_nothing(tmp_path: Path) -> None:
    replay = small(tmp_path)
    stream = replay.open_stream(recorded())
    fill(replay, [stream], 10)
    width = next(tmp_path.glob("stream-*/*.rows")).stat().st_size // 10
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10 * width + width // 2, hard))
    try:
        with pytest.raises(ManyheadsError, match=r"Could not write a row .* The 10 rows before it are kept; make room"):
            fill(replay, [stream], 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert replay.rows == 10
    fill(replay, [stream], 5)
    replay.close()
    again = small(tmp_path)
    assert (again.rows, again.repairs) == (15, [])


@pytest.mark.parametrize("file", ["replay.json", "stream-00000/stream.json"])
def test_a_newer_format_is_refused(tmp_path: Path, file: str) -> None:
    replay = small(tmp_path)
    fill(replay, [replay.open_stream(recorded())], 10)
    replay.close()
    values = json.loads((tmp_path / file).read_text())
    (tmp_path / file).write_text(json.dumps({**values, "format": values["format"] + 1}))
    with pytest.raises(ManyheadsError, match="written by a newer manyheads"):
        small(tmp_path)


@pytest.mark.parametrize(
    ("file", "key", "value", "message"),
    [
        ("replay.json", "latent", {"deter": "3", "groups": 2, "classes": 4}, r"replay\.json .*: latent\.deter: Input"),
        ("stream-00000/stream.json", "bytes", 5, r"stream\.json: record: it does not fit its own interface"),
        ("stream-00000/stream.json", "instance", [], r"stream\.json .*: instance: Input should be an object"),
        ("stream-00000/stream.json", "instnace", 1, r"stream\.json .*: instnace: Extra inputs"),
    ],
)
def test_a_wrong_value_is_one_line_with_file_and_key(
    tmp_path: Path, file: str, key: str, value: object, message: str
) -> None:
    replay = small(tmp_path)
    fill(replay, [replay.open_stream(recorded())], 10)
    replay.close()
    values = json.loads((tmp_path / file).read_text())
    (tmp_path / file).write_text(json.dumps({**values, key: value}))
    with pytest.raises(ManyheadsError, match=message) as error:
        small(tmp_path)
    assert "\n" not in str(error.value)


def test_sampling_continues_identically_after_reopening(tmp_path: Path) -> None:
    replay = small(tmp_path, seed=5)
    fill(replay, [replay.open_stream(recorded()) for _ in range(3)], 100)
    replay.sample(4, 10)
    replay.flush()
    state = json.loads(json.dumps(replay.state()))
    wanted = [replay.sample(6, 10) for _ in range(8)]
    replay.close()
    replay = small(tmp_path, seed=99)
    replay.restore(state)
    for batch, where in wanted:
        again, there = replay.sample(6, 10)
        assert np.array_equal(where.starts, there.starts)
        for name in ("vector", "previous_action", "action", "signals", "is_first", "reset_state", "deter", "stoch"):
            assert getattr(batch, name).equal(getattr(again, name))
