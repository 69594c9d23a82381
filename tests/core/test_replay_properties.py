"""Replay against a plain list of rows: whatever is added, every window read is what was written."""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from fake_experience import INTERFACE, LAYOUT, PICTURED, random_latents, random_rows, recorded
from hypothesis import given, settings
from hypothesis import strategies as st

from manyheads.environment.layout import SpaceLayout
from manyheads.experience.replay import Replay

INSTANCES = (recorded("fake/one", ["reward"]), recorded("fake/two", ["reward", "x", "y"]))


class Model:
    """Every row ever added, by stream, as plain dictionaries."""

    def __init__(self, interface: SpaceLayout) -> None:
        self.interface = interface
        self.rows: dict[int, list[dict[str, Any]]] = {}

    def add(self, replay: Replay, generator: np.random.Generator, ends: float, blind: float) -> None:
        """One lock-step of random rows with random flags; some without latents."""
        streams = list(self.rows)
        before = [self.rows[s][-1] if self.rows[s] else {"is_last": True, "index": 0, "episode": 0} for s in streams]
        first = [bool(row["is_last"]) for row in before]
        last = (generator.random(len(streams)) < ends).tolist()
        episode = [replay.new_episode() if f else int(row["episode"]) for f, row in zip(first, before, strict=True)]
        index = [0 if f else int(row["index"]) + 1 for f, row in zip(first, before, strict=True)]
        rows = random_rows(generator, self.interface, first, last, episode, index)
        seen = generator.random() >= blind
        deter, stoch = random_latents(generator, len(streams))
        replay.add(streams, rows, *((deter, stoch) if seen else (None, None)))
        for i, stream in enumerate(streams):
            row = {name: value[i] for name, value in vars(rows).items() if value is not None}
            self.rows[stream].append({**row, "deter": deter[i], "stoch": stoch[i], "valid": seen})

    def check_window(self, replay: Replay, batch: Any, where: Any, b: int, begins: int) -> None:
        start, length = int(where.starts[b]), where.length
        rows = self.rows[int(where.streams[b])]
        own = rows[start : start + length]
        assert len(own) == length
        context = rows[start - 1] if start > begins else None
        actions = [row["action"] for row in rows[max(start - 1, begins) : start + length - 1]]
        if context is None:
            actions.insert(0, np.zeros_like(own[0]["action"]))
        known = context is not None and context["valid"]
        for name in ("vector", "is_last", "is_terminal", *(("image",) if self.interface.image else ())):
            assert np.array_equal(getattr(batch, name)[b], np.stack([row[name] for row in own])), name
        assert np.array_equal(batch.previous_action[b], np.stack(actions))
        assert np.array_equal(batch.action[b], np.stack([row["action"] for row in own]))
        signals = len(replay.instances[int(batch.instance[b])].signals)
        wanted = np.stack([row["signals"][:signals] for row in own]).astype(np.float32)
        assert np.array_equal(batch.signals[b, :, :signals], wanted)
        assert not batch.signals[b, :, signals:].any()
        assert batch.is_first[b].tolist() == [bool(row["is_first"]) for row in own]
        assert batch.reset_state[b].tolist() == [not known and not own[0]["is_first"], *[False] * (len(own) - 1)]
        assert where.missing[b] == (not known)
        assert np.array_equal(batch.deter[b], context["deter"] if known else np.zeros(LAYOUT.deter))
        assert np.array_equal(batch.stoch[b], context["stoch"] if known else np.zeros((LAYOUT.groups, LAYOUT.classes)))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    interface=st.sampled_from([INTERFACE, PICTURED]),
    streams=st.lists(st.sampled_from([0, 1]), min_size=1, max_size=4),
    steps=st.lists(st.integers(1, 60), min_size=1, max_size=4),
    length=st.integers(1, 12),
    capacity=st.one_of(st.none(), st.integers(40, 200)),
    ends=st.sampled_from([0.0, 0.1, 0.5]),
    blind=st.sampled_from([0.0, 0.2]),
    on_disk=st.booleans(),
)
def test_every_window_is_what_was_written(
    seed: int,
    interface: SpaceLayout,
    streams: list[int],
    steps: list[int],
    length: int,
    capacity: int | None,
    ends: float,
    blind: float,
    on_disk: bool,
) -> None:
    generator = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) if on_disk else None

        def opened(seed: int) -> Replay:
            return Replay(folder, interface, LAYOUT, capacity_rows=capacity or 10_000, seed=seed)

        replay, model = opened(seed), Model(interface)
        for instance in streams:
            model.rows[replay.open_stream(INSTANCES[instance].model_copy(update={"layout": interface}))] = []
        for count in steps:
            for _ in range(count):
                model.add(replay, generator, ends, blind)
            begins = check(replay, model, generator, length, capacity)
            if folder is not None:
                state = json.loads(json.dumps(replay.state()))
                wanted = replay.sample(3, length) if replay.num_windows(length) else None
                replay.close()
                replay = opened(seed + 1)
                replay.restore(state)
                assert replay.repairs == []
                assert check_begins(replay, model) == begins
                if wanted is not None:
                    again = replay.sample(3, length)
                    assert np.array_equal(wanted[1].starts, again[1].starts)
                    assert wanted[0].vector.equal(again[0].vector)
                    assert wanted[0].deter.equal(again[0].deter)
                check(replay, model, generator, length, capacity)
        replay.close()


def check_begins(replay: Replay, model: Model) -> dict[int, int]:
    """The first row still there of each stream."""
    begins = {stream: int(replay.stop(stream) or 0) - replay.num_windows(1, [stream]) for stream in model.rows}
    assert all(replay.stop(stream) == len(rows) for stream, rows in model.rows.items())
    return begins


def check(
    replay: Replay, model: Model, generator: np.random.Generator, length: int, capacity: int | None
) -> dict[int, int]:
    """Everything that can be read is what was written, and as much is kept as the capacity says."""
    begins = check_begins(replay, model)
    total = sum(len(rows) for rows in model.rows.values())
    assert replay.rows == sum(replay.num_windows(1, [stream]) for stream in model.rows)
    assert replay.rows <= max(capacity or total, 32 * len(model.rows))
    assert replay.rows >= min(total, (capacity or total) - 16)
    if replay.num_windows(length):
        for online in (True, False):
            batch, where = replay.sample(5, length, online=online)
            for b in range(5):
                model.check_window(replay, batch, where, b, begins[int(where.streams[b])])
            model_writes(replay, model, where, generator)
    for episode in replay.episodes():
        rows = model.rows[episode.stream.number][episode.start : episode.stop]
        assert {int(row["episode"]) for row in rows} == {episode.id}
        assert np.array_equal(episode.vector, np.stack([row["vector"] for row in rows]))
        assert np.array_equal(episode.latents[2], [row["valid"] for row in rows])
        assert episode.is_open == (not rows[-1]["is_last"])
    return begins


def model_writes(replay: Replay, model: Model, where: Any, generator: np.random.Generator) -> None:
    """Replaces the latents of a batch in both; of windows that overlap, the later one counts."""
    count = len(where.starts)
    deter, stoch = random_latents(generator, count * where.length)
    deter, stoch = (v.reshape(count, where.length, *v.shape[1:]) for v in (deter, stoch))
    replay.write_latents(where, LAYOUT.pack(deter, stoch))
    for b in range(count):
        for t in range(where.length):
            row = model.rows[int(where.streams[b])][int(where.starts[b]) + t]
            row.update(deter=deter[b, t], stoch=stoch[b, t], valid=True)
