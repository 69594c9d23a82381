"""Windows of replay are labelled as their whole episode is, from copies; mistakes are named with their rows."""

from pathlib import Path

import numpy as np
import pytest
import torch
from fake_experience import INTERFACE, LAYOUT, random_rows
from fake_walk import walk

from manyheads.errors import ManyheadsError
from manyheads.experience.replay import Replay
from manyheads.experience.stream import RecordedInstance
from manyheads.learning.labels import Labeller
from manyheads.rewards.sources import KINDS
from manyheads.task import Task, TaskFile
from manyheads.trust import allow_module

allow_module(__name__)

PLACE = {"signal": "place[0]"}
WINDOW = {"op": "window", "take": "mean", "of": PLACE, "steps": 20}
STAGES = [
    {
        "reward": {"x": PLACE, "to": {"shape": "ramp", "low": -1.0, "high": 1.0}},
        "advance_when": {"op": "held_for", "of": {"op": "gt", "x": PLACE, "than": -1.0}, "steps": 3},
    },
    {"reward": {"x": WINDOW, "to": {"shape": "ramp", "low": -1.0, "high": 1.0}}},
]
SPEC = {"source": "spec", "spec": {"environment": "fake/walk", "stages": STAGES}}


def task(reward):
    content = TaskFile.model_validate({"version": 1, "environment": "fake/walk", "reward": reward, "episode_steps": 50})
    kind = next(kind for kind in KINDS if kind.name == reward["source"])
    settings = kind.settings.model_validate({key: value for key, value in reward.items() if key != "source"})
    return Task("fake/walk-somewhere", content, walk(), settings)


def fill(replay, stream, generator, lengths, episode=0):
    for number, length in enumerate(lengths):
        for at in range(length):
            flags = [at == 0], [at == length - 1]
            replay.add([stream], random_rows(generator, INTERFACE, *flags, [episode + number], [at], signals=2))


@pytest.fixture
def replay():
    replay = Replay(None, INTERFACE, LAYOUT, capacity_rows=2000)
    generator = np.random.default_rng(0)
    for lengths in ([30, 7, 40], [60, 25]):
        stream = replay.open_stream(RecordedInstance.of(walk(), INTERFACE))
        fill(replay, stream, generator, lengths, 10 * stream)
    return replay


def whole_episodes(replay, source):
    """Reward and memory after each row, by stream and row."""
    found = {}
    for episode in replay.episodes():
        signals = {n: torch.tensor(c.astype(np.float32)) for n, c in episode.signals.items()}
        steps = source.unroll(signals, torch.tensor(episode.is_first))
        for at in range(len(episode)):
            found[episode.stream.number, episode.start + at] = steps.reward[at], steps.memory[at]
    return found


def test_windows_have_the_memory_of_the_stored_episode(replay):
    labeller = Labeller(task(SPEC), replay)
    for _ in range(3):
        expected = whole_episodes(replay, labeller.source)
        batch, where = replay.sample(16, 10)
        labels = labeller(batch, where)
        assert labels.mask.all()
        assert labels.memory.shape == (16, 10, labeller.source.memory_size)
        for b, (stream, start) in enumerate(zip(where.streams.tolist(), where.starts.tolist(), strict=True)):
            for t in range(10):
                reward, memory = expected[stream, start + t]
                torch.testing.assert_close(labels.reward[b, t], reward, atol=1e-6, rtol=0)
                torch.testing.assert_close(labels.memory[b, t], memory, atol=1e-5, rtol=0)
        fill(replay, 0, np.random.default_rng(1), [20], 100)


def test_rows_whose_past_was_dropped_before_it_was_seen_are_left_out(replay):
    fill(replay, 1, np.random.default_rng(2), [1990], 200)
    assert not any(episode.stream.number == 1 and episode.start > 0 for episode in replay.episodes())
    labeller = Labeller(task(SPEC), replay)
    oldest = {stream: replay.signal_rows(stream, 0, 1) for stream in (0, 1)}
    assert not oldest[1].is_first[0]
    batch, where = replay.sample(400, 10)
    mask = labeller(batch, where).mask
    windows = zip(where.streams.tolist(), where.starts.tolist(), strict=True)
    unknown = torch.tensor([start == oldest[stream].start for stream, start in windows])
    assert mask[:, 0].equal(~unknown | batch.is_first[:, 0])
    assert mask[:, 1:].all()


def subtracts_in_place(signals):
    signals["place[0]"] -= 3
    return signals["place[0]"].float()


def stumbles(signals):
    raise RuntimeError("over its own feet")


def endless(signals):
    return torch.full_like(signals["place[0]"], torch.inf)


def python(function):
    return {"source": "python", "function": f"{__name__}:{function}", "signals": ["place[0]"]}


def test_a_function_that_writes_in_place_changes_nothing_of_anothers(replay):
    writes, spec = Labeller(task(python("subtracts_in_place")), replay), Labeller(task(SPEC), replay)
    batch, where = replay.sample(8, 10)
    before = spec(batch, where)
    signals = batch.signals.clone()
    once, twice = writes(batch, where), writes(batch, where)
    assert batch.signals.equal(signals)
    assert once.reward.equal(twice.reward)
    after = spec(batch, where)
    assert after.reward.equal(before.reward)
    assert after.memory.equal(before.memory)


@pytest.mark.parametrize(
    ("function", "problem"), [("stumbles", "RuntimeError: over its own feet"), ("endless", "not finite")]
)
def test_a_function_that_fails_is_named_with_task_and_rows(replay, function, problem):
    labeller = Labeller(task(python(function)), replay)
    batch, where = replay.sample(5, 10)
    rows = f"stream {where.streams[0]} rows {where.starts[0]} to {where.starts[0] + 9}"
    with pytest.raises(
        ManyheadsError, match=rf"fake/walk-somewhere on fake/walk .*{rows}.* and 2 other windows.*{problem}"
    ):
        labeller(batch, where)


def test_a_successs_size_is_limited_in_a_task_file(tmp_path: Path):
    deep = PLACE
    for _ in range(3):
        deep = {"op": "max", "of": [deep] * 4}
    with pytest.raises(ValueError, match="85 nodes are too many"):
        TaskFile.model_validate(
            {
                "version": 1,
                "environment": "fake/walk",
                "reward": {"source": "environment"},
                "success": {"when": {"op": "gt", "x": deep, "than": 0.0}},
                "episode_steps": 9,
            }
        )
