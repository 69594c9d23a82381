"""The collector: honest flags, the same rows in one process and in many, and going on where it was."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_experience import LAYOUT, Walk, random_latents, walk

from manyheads.environment.contract import Instance
from manyheads.environment.layout import SpaceLayout
from manyheads.errors import ManyheadsError
from manyheads.experience.collector import TRAINING_SEEDS, Collector, CollectResult, episode_seed
from manyheads.experience.replay import Replay
from manyheads.experience.subproc_vector_env import SubprocVectorEnv
from manyheads.experience.vector_env import EnvSlot

PLAIN = walk(signals=1)
RICH = walk(signals=3, pictures=True)
INTERFACE = EnvSlot(PLAIN).make().layout.union(EnvSlot(RICH).make().layout)


class Policy:
    """Random actions beyond the limits, and made-up latents; remembers what it was shown."""

    def __init__(self, interface: SpaceLayout = INTERFACE, seed: int = 0) -> None:
        self.size, self.generator = interface.action_size, np.random.default_rng(seed)
        self.shown: list[tuple[Any, Any, Any]] = []

    def __call__(self, image: Any, vector: Any, is_first: Any, signals: Any) -> tuple[Any, Any, Any]:
        self.shown.append((image, vector.copy(), is_first.copy()))
        action = self.generator.normal(0.0, 2.0, (len(is_first), self.size)).astype(np.float32)
        return action, *random_latents(self.generator, len(is_first))


def collector(replay: Replay, instances: list[Instance], **options: Any) -> Collector:
    return Collector([EnvSlot(instance, f"p{i}") for i, instance in enumerate(instances)], INTERFACE, replay, **options)


def run(own: Collector, policy: Policy, steps: int) -> list[CollectResult]:
    return [own.collect(policy) for _ in range(steps)]


def contents(replay: Replay) -> list[tuple[Any, ...]]:
    """All that replay holds, episode by episode."""
    return [
        (
            (e.instance.key, e.start, e.is_open, str(e.signals)),
            None if e.image is None else e.image.tolist(),
            *(values.tolist() for values in (e.vector, e.action, e.is_last, e.is_terminal, e.latents[0])),
        )
        for e in replay.episodes()
    ]


def test_rows_are_what_the_environment_showed_with_honest_flags() -> None:
    replay = Replay(None, INTERFACE, LAYOUT)
    own = collector(replay, [PLAIN, RICH], seed=7)
    policy = Policy()
    results = run(own, policy, 100)
    checked = 0
    for episode in replay.episodes():
        assert episode.is_first.tolist() == [True] + [False] * (len(episode) - 1)
        if episode.is_open:
            continue
        assert episode.is_last.tolist() == [False] * (len(episode) - 1) + [True]
        instance = PLAIN if episode.instance.key == PLAIN.key else RICH
        env = EnvSlot(instance).make()
        fitting = own._simulators._fittings[0 if instance is PLAIN else 1]  # type: ignore[attr-defined]
        seen = env.reset(episode_seed(7, episode.id))
        for t in range(len(episode)):
            assert np.array_equal(episode.vector[t], fitting.map_vector(seen.vector))
            assert list(episode.signals) == [
                "reward",
                *(f"place[{i}]" for i in range(1 if instance is PLAIN else 3)),
            ]
            assert [values[t] for values in episode.signals.values()] == seen.signals.tolist()
            assert np.array_equal(episode.image[t], fitting.map_image(seen.image))  # type: ignore[index]
            if t < len(episode) - 1:
                seen, last, terminal = env.step(fitting.unmap_action(episode.action[t]))
                assert last == episode.is_last[t + 1]
                assert terminal == episode.is_terminal[t + 1]
        checked += 1
    assert checked > 10
    terminals = [bool(e.is_terminal[-1]) for e in replay.episodes() if not e.is_open]
    assert any(terminals)
    assert not all(terminals)
    finished = [episode for result in results for episode in result.finished]
    assert len(finished) == checked
    by_number = {episode.id: episode for episode in replay.episodes()}
    for done in finished:
        episode = by_number[done.episode]
        assert done.score == pytest.approx(episode.signals["reward"].sum())
        assert done.length == len(episode) - 1
        assert done.policy == f"p{done.slot}"
        assert done.instance == episode.instance.key
    assert sum(result.rows for result in results) == replay.rows == 200
    assert sum(result.steps for result in results) == 200 - checked


def test_policies_see_first_where_an_episode_begins() -> None:
    replay = Replay(None, INTERFACE, LAYOUT)
    policy = Policy()
    run(collector(replay, [PLAIN, PLAIN]), policy, 30)
    shown = np.stack([first for _, _, first in policy.shown])
    for stream in range(2):
        recorded = [e.is_first for e in replay.episodes() if e.stream.number == stream]
        assert np.array_equal(shown[:, stream], np.concatenate(recorded))


def test_seeds_follow_from_the_run_and_the_episode() -> None:
    rows = []
    for seed in (0, 0, 1):
        replay = Replay(None, INTERFACE, LAYOUT)
        run(collector(replay, [PLAIN, PLAIN], seed=seed), Policy(), 40)
        rows.append(contents(replay))
    assert rows[0] == rows[1]
    assert rows[0] != rows[2]
    seeds = {episode_seed(0, episode) for episode in range(1000)}
    assert len(seeds) > 990
    assert max(seeds) < TRAINING_SEEDS


def test_workers_collect_the_same_rows() -> None:
    instances = [PLAIN, RICH, PLAIN, RICH, PLAIN]
    rows = []
    for workers in (0, 2):
        replay = Replay(None, INTERFACE, LAYOUT)
        own = collector(replay, instances, workers=workers)
        run(own, Policy(), 30)
        own.close()
        rows.append(contents(replay))
    assert rows[0] == rows[1]


@pytest.mark.parametrize("workers", [0, 1])
def test_an_environment_that_fails_is_named_and_rows_are_kept(workers: int) -> None:
    instance = walk(fails_at=3, length=1000)
    replay = Replay(None, INTERFACE, LAYOUT)
    own = collector(replay, [PLAIN, instance], workers=workers)
    with pytest.raises(
        ManyheadsError, match=r"fake/walk .*: step 3 of the episode with seed \d+ .* the wheel came off"
    ):
        run(own, Policy(), 10)
    own.close()
    assert replay.rows == 6


def test_an_environment_that_shows_nan_is_said_in_whole_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Walk, "shown", lambda self: np.full(3, np.nan, np.float32))
    own = collector(Replay(None, INTERFACE, LAYOUT), [PLAIN])
    with pytest.raises(
        ManyheadsError, match=r"step 0 of .* failed: fake/walk: the observation's place .* unstable\. The rows before"
    ):
        run(own, Policy(), 1)
    own.close()


def test_a_worker_that_dies_is_a_clear_error() -> None:
    replay = Replay(None, INTERFACE, LAYOUT)
    own = collector(replay, [PLAIN, PLAIN], workers=1)
    run(own, Policy(), 3)
    own._simulators._processes[0].kill()  # type: ignore[attr-defined]
    with pytest.raises(ManyheadsError, match="The worker process for slots 0 to 1 is gone"):
        run(own, Policy(), 3)
    own.close()


def test_workers_end_quietly_with_an_answer_unread(capfd: pytest.CaptureFixture[str]) -> None:
    workers = SubprocVectorEnv([EnvSlot(PLAIN)], INTERFACE, 1)
    workers.step_async([0], np.zeros((1, INTERFACE.action_size), np.float32))
    assert workers._pipes[0].poll(timeout=60)
    workers.close()
    assert workers._processes[0].exitcode == 0
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("steps", [1, 5, 11, 37])
@pytest.mark.parametrize("workers", [0, 1])
def test_resuming_goes_on_bit_for_bit(tmp_path: Path, steps: int, workers: int) -> None:
    instances = [PLAIN, RICH, PLAIN]
    whole = Replay(None, INTERFACE, LAYOUT)
    scores = run(collector(whole, instances, seed=3), Policy(), steps + 20)

    replay = Replay(tmp_path, INTERFACE, LAYOUT)
    own = collector(replay, instances, seed=3)
    policy = Policy()
    run(own, policy, steps)
    state = json.loads(json.dumps({"replay": replay.state(), "collector": own.state()}))
    replay.close()

    replay = Replay(tmp_path, INTERFACE, LAYOUT)
    replay.restore(state["replay"])
    own = collector(replay, instances, seed=3, workers=workers)
    assert own.restore(state["collector"]) == []
    assert run(own, policy, 20) == scores[steps:]
    own.close()
    assert contents(replay) == contents(whole)


def test_an_episode_that_does_not_repeat_is_left_unfinished(tmp_path: Path) -> None:
    instances = [PLAIN, walk(noisy=True, length=1000)]
    Walk.noise = 0.0
    replay = Replay(tmp_path, INTERFACE, LAYOUT)
    own = collector(replay, instances)
    run(own, Policy(), 8)
    state = {"replay": replay.state(), "collector": own.state()}
    replay.close()
    replay = Replay(tmp_path, INTERFACE, LAYOUT)
    replay.restore(state["replay"])
    own = collector(replay, instances)
    (note,) = own.restore(state["collector"])
    assert "Slot 1 (fake/walk" in note
    run(own, Policy(), 5)
    left, new = (e for e in replay.episodes() if e.instance.key == instances[1].key)
    assert (len(left), left.is_open, len(new)) == (8, True, 5)
    assert new.stream.number != left.stream.number
    assert new.is_first[0]
    assert replay.rows == 26


@pytest.mark.parametrize("more", [1, 9, 200])
def test_rows_newer_than_the_state_are_kept(tmp_path: Path, more: int) -> None:
    instance = walk(length=100)
    replay = Replay(tmp_path, INTERFACE, LAYOUT)
    own = collector(replay, [instance])
    policy = Policy()
    run(own, policy, 2)
    state = {"replay": replay.state(), "collector": own.state()}
    run(own, policy, more)
    before = contents(replay)
    replay.close()
    replay = Replay(tmp_path, INTERFACE, LAYOUT)
    replay.restore(state["replay"])
    own = collector(replay, [instance])
    assert len(own.restore(state["collector"])) == 1
    run(own, policy, 5)
    assert contents(replay)[: len(before)] == before
    assert replay.rows == 2 + more + 5
    assert policy.shown[-5][2].all()
    numbers = [episode.id for episode in replay.episodes()]
    assert len(set(numbers)) == len(numbers)


def test_other_slots_than_before_begin_anew(tmp_path: Path) -> None:
    replay = Replay(tmp_path, INTERFACE, LAYOUT)
    own = collector(replay, [PLAIN])
    run(own, Policy(), 8)
    state = own.state()
    own = collector(replay, [RICH, PLAIN])
    own.restore(state)
    run(own, Policy(), 3)
    assert replay.rows == 14
    assert own.streams == [1, 2]
