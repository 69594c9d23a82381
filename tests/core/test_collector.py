"""The collector: honest flags, the same rows in one process and in many, failures that stay small, and resuming."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_experience import LAYOUT, random_latents
from fake_walk import Walk, walk

from manyheads.environment.contract import Instance, Signal
from manyheads.environment.layout import SpaceLayout
from manyheads.errors import ManyheadsError
from manyheads.experience.collector import (
    MAX_FAILURES,
    TRAINING_SEEDS,
    Collector,
    CollectResult,
    EnvironmentFailed,
    episode_seed,
)
from manyheads.experience.records import Rows
from manyheads.experience.replay import Replay
from manyheads.experience.stream import RecordedInstance
from manyheads.experience.subproc_vector_env import SubprocVectorEnv, choose_vector_env
from manyheads.experience.vector_env import EnvSlot, SyncVectorEnv, VectorStep

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


def collector(
    replay: Any, instances: list[Instance], workers: int = 0, timeout: float = 600.0, seed: int = 0
) -> Collector:
    slots = [EnvSlot(instance, f"p{i}") for i, instance in enumerate(instances)]
    return Collector(slots, INTERFACE, replay, seed, choose_vector_env(workers, timeout))


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
        fitting = own.vector_env._layout_maps[0 if instance is PLAIN else 1]  # type: ignore[attr-defined]
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
        assert done.policy == f"p{done.env}"
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
def test_an_environment_that_fails_again_and_again_is_named_and_rows_are_kept(workers: int) -> None:
    instance = walk(fails_at=3, length=1000)
    replay = Replay(None, INTERFACE, LAYOUT)
    own = collector(replay, [PLAIN, instance], workers)
    message = r"Environment 1, fake/walk {[^}]*}, step 3 of the episode with seed \d+: RuntimeError: the wheel"
    with pytest.raises(
        EnvironmentFailed, match=rf"{message} came off\. That is failure {MAX_FAILURES} in a row\. The rows before"
    ):
        run(own, Policy(), 100)
    own.close()
    assert replay.rows == 2 * 3 * MAX_FAILURES
    failed = [e for e in replay.episodes() if e.instance.key == instance.key]
    assert [len(episode) for episode in failed] == [3] * MAX_FAILURES
    assert [episode.is_open for episode in failed] == [False] * (MAX_FAILURES - 1) + [True]


@pytest.mark.parametrize(
    ("how", "workers", "words"),
    [
        ("raises", 0, "RuntimeError: the wheel came off"),
        ("exits", 0, r"it called sys\.exit\('no licence'\); an environment raises an error instead"),
        ("exits", 1, r"it called sys\.exit\('no licence'\); an environment raises an error instead"),
        ("cancels", 0, "CancelledError: by its own loop"),
        ("cancels", 1, "CancelledError: by its own loop"),
        ("ends a generator", 0, r"GeneratorExit in \w+.py, line \d+: .*"),
        ("interrupts", 1, r"KeyboardInterrupt in \w+.py, line \d+: .*"),
        ("dies", 1, r"its process ended \(exit code 7\)"),
        ("hangs", 1, r"nothing came back within 2 s \(training.step_timeout\), so its process was ended"),
    ],
)
def test_a_failure_is_one_line_and_a_truncated_episode(how: str, workers: int, words: str, tmp_path: Path) -> None:
    """The other environments of its worker begin new episodes where they were lost with it; nothing else changes."""
    instance = walk(fails_at=4, length=1000, how=how, once=str(tmp_path / "failed"))
    replay = Replay(tmp_path / "replay", INTERFACE, LAYOUT)
    own = collector(replay, [RICH, instance, PLAIN], workers, timeout=2.0 if how == "hangs" else 600.0)
    results = run(own, Policy(), 12)
    own.close()
    (line,) = (line for result in results for line in result.failures)
    assert re.search(
        rf"^Environment 1, fake/walk {{[^}}]*}}, step 4 of .* seed \d+: {words}\. It was recreated .*failure 1 of",
        line,
    )
    assert replay.rows == 36
    episodes = [e for e in replay.episodes() if e.instance.key == instance.key]
    assert [(len(e), e.is_open, bool(e.is_last[-1]), bool(e.is_terminal[-1])) for e in episodes] == [
        (4, False, True, False), (8, True, False, False)
    ]  # fmt: skip
    assert len({e.stream.number for e in replay.episodes()}) == 3
    for episode in replay.episodes():
        assert episode.is_first.tolist() == [True] + [False] * (len(episode) - 1)
        assert not episode.is_last[:-1].any()
    replay.close()
    assert Replay(tmp_path / "replay", INTERFACE, LAYOUT).repairs == []


def test_failures_apart_from_one_another_continue_for_ever() -> None:
    """Some episodes last until the step that fails; those between end by themselves."""
    replay = Replay(None, INTERFACE, LAYOUT)
    own = collector(replay, [walk(fails_at=9, length=12)])
    lines = [line for result in run(own, Policy(), 300) for line in result.failures]
    assert len(lines) > 2 * MAX_FAILURES
    assert f"failure {len(lines)} of this run" in lines[-1]


def test_a_worker_that_is_killed_is_replaced() -> None:
    replay = Replay(None, INTERFACE, LAYOUT)
    own = collector(replay, [PLAIN, PLAIN], 1)
    run(own, Policy(), 3)
    own.vector_env._workers[0].process.kill()  # type: ignore[attr-defined]
    results = run(own, Policy(), 3)
    own.close()
    assert sum(len(result.failures) for result in results) == 1
    assert "signal 9; was the machine short of memory?" in next(line for r in results for line in r.failures)
    assert replay.rows == 12


def test_an_environment_that_shows_nan_is_named_in_whole_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Walk, "shown", lambda self: np.full(3, np.nan, np.float32))
    own = collector(Replay(None, INTERFACE, LAYOUT), [PLAIN])
    with pytest.raises(
        ManyheadsError,
        match=r"step 0 of .* seed \d+: the observation's entry .* unstable\. That is failure 5",
    ):
        run(own, Policy(), 1)
    own.close()


@pytest.mark.parametrize("pays", [1e39, 3e38])
def test_a_reward_that_no_batch_can_hold_is_a_failure(pays: float) -> None:
    replay = Replay(None, INTERFACE, LAYOUT)
    own = collector(replay, [walk(pays=pays)])
    with pytest.raises(
        EnvironmentFailed,
        match=r"step 1 of .* seed \d+: signal 'reward' is -?\d.*; learning takes numbers up to",
    ):
        run(own, Policy(), 100)
    assert all(np.isfinite(episode.signals["reward"].astype(np.float32)).all() for episode in replay.episodes())


def test_numbers_that_are_refused_fail_their_own_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    slots = [EnvSlot(instance) for instance in (PLAIN, RICH, walk(pays=1e39), PLAIN)]
    shown = Walk.shown
    monkeypatch.setattr(
        Walk,
        "shown",
        lambda self: (
            shown(self) | {"vector": np.array([1, np.inf, 2])}
            if self.at == 1 and self.options.pictures
            else shown(self)
        ),
    )
    envs = SyncVectorEnv(slots, INTERFACE)
    action = np.full((4, INTERFACE.action_size), 0.5, np.float32)
    envs.step_async([1, 2, 3, 1], action)
    assert not envs.step_wait().failures
    envs.step_async([None] * 4, action)
    step = envs.step_wait()
    said = {env: failure.message for env, failure in step.failures.items()}
    assert sorted(said) == [1, 2]
    assert re.search(
        r"pictures.*step 1 of the episode with seed 2: the observation's entry 'vector\[1\]' is inf", said[1]
    )
    assert re.search(r"1e\+39.*step 1 of the episode with seed 3: signal 'reward' is 1e\+39", said[2])
    assert (step.vector[0] == step.vector[3]).all()
    assert step.vector[0].any()
    envs.close()


class ListSink:
    """Rows in a list, as a cluster's sink might send them on."""

    def __init__(self) -> None:
        self.streams: list[RecordedInstance] = []
        self.rows: list[Rows] = []
        self.ended: list[int] = []
        self.episodes = 0

    def open_stream(self, instance: RecordedInstance) -> int:
        self.streams.append(instance)
        return len(self.streams) - 1

    def new_episode(self) -> int:
        self.episodes += 1
        return self.episodes - 1

    def add(self, streams: Sequence[int], rows: Rows, deter: Any = None, stoch: Any = None) -> None:
        self.rows.append(replace(rows, episode=rows.episode.copy(), index=rows.index.copy()))

    def end_episode(self, stream: int) -> None:
        self.ended.append(stream)


class Doubled(SyncVectorEnv):
    """A vector environment of a plugin's own: every number of a vector is twice what it was."""

    def step_wait(self) -> VectorStep:
        step = super().step_wait()
        return replace(step, vector=2 * step.vector)


def test_a_plugin_brings_its_own_environments_and_its_own_sink() -> None:
    sink, replay, slots = ListSink(), Replay(None, INTERFACE, LAYOUT), [EnvSlot(PLAIN), EnvSlot(walk(fails_at=5))]
    run(Collector(slots, INTERFACE, sink, make_vector_env=Doubled), Policy(), 10)
    run(Collector(slots, INTERFACE, replay), Policy(), 10)
    assert [instance.key for instance in sink.streams] == [slot.instance.key for slot in slots]
    assert sink.ended == [1] * len(sink.ended)
    stored = np.concatenate([e.vector for e in replay.episodes() if e.stream.number == 0])
    assert np.array_equal(np.stack([rows.vector[0] for rows in sink.rows]), 2 * stored)


def alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("hangs", [False, True])
def test_workers_end_with_a_parent_that_was_killed(hangs: bool, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(folder=str(Path(__file__).parent), fails_at=2 if hangs else -1))
    parent = subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    workers = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(workers) == 2
    assert all(map(alive, workers))
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 20
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(map(alive, workers))


PROGRAM = """
import sys, time
sys.path.insert(0, {folder!r})
from fake_walk import walk
from manyheads.experience.subproc_vector_env import SubprocVectorEnv
from manyheads.experience.vector_env import EnvSlot, SyncVectorEnv, VectorStep
import numpy as np

if __name__ == "__main__":
    slot = EnvSlot(walk(fails_at={fails_at}, how="hangs", length=1000))
    envs = SubprocVectorEnv([slot, slot], slot.make().layout, 2)
    envs.step_async([0, 0], np.zeros((2, 1), np.float32))
    envs.step_wait()
    for _ in range(2):
        envs.step_async([None, None], np.zeros((2, 1), np.float32))
        if {fails_at} < 0:
            envs.step_wait()
    time.sleep(1)
    print(*(worker.process.pid for worker in envs._workers), flush=True)
    time.sleep(600)
"""


def test_workers_end_quietly_with_an_answer_unread(capfd: pytest.CaptureFixture[str]) -> None:
    environments = SubprocVectorEnv([EnvSlot(PLAIN)], INTERFACE, 1)
    environments.step_async([0], np.zeros((1, INTERFACE.action_size), np.float32))
    worker = environments._workers[0]
    assert worker is not None
    assert worker._pipe.poll(timeout=60)
    worker._pipe.close()
    worker.process.join(timeout=60)  # on a busy machine longer than `close` waits
    environments.close()
    assert worker.process.exitcode == 0
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("steps", [1, 5, 11, 37])
@pytest.mark.parametrize("workers", [0, 1])
def test_resuming_is_exact_bit_for_bit(tmp_path: Path, steps: int, workers: int) -> None:
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
    assert own.restore(state["collector"], replay) == []
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
    (note,) = own.restore(state["collector"], replay)
    assert "Environment 1 (fake/walk" in note
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
    assert len(own.restore(state["collector"], replay)) == 1
    run(own, policy, 5)
    assert contents(replay)[: len(before)] == before
    assert replay.rows == 2 + more + 5
    assert policy.shown[-5][2].all()
    numbers = [episode.id for episode in replay.episodes()]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("signals", [1, 3])
def test_signals_that_have_changed_begin_a_new_stream(
    tmp_path: Path, signals: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plugin that measures more or less than when the world was saved: each stream has its own columns."""
    instance = walk(signals=2, length=1000)
    replay = Replay(tmp_path, INTERFACE, LAYOUT)
    own = collector(replay, [instance])
    run(own, Policy(), 8)
    state = {"replay": replay.state(), "collector": own.state()}
    replay.close()
    names = ["reward", *(f"place[{i}]" for i in range(signals))]
    monkeypatch.setattr(Instance, "signals", property(lambda self: tuple(map(Signal, names))))
    monkeypatch.setattr(Walk, "signals", signals)
    replay = Replay(tmp_path, INTERFACE, LAYOUT)
    replay.restore(state["replay"])
    own = collector(replay, [instance])
    (note,) = own.restore(state["collector"], replay)
    assert "begins a new episode" in note
    run(own, Policy(), 8)
    assert own.streams == [1]
    assert [known.signals for known in replay.instances] == [("reward", "place[0]", "place[1]"), tuple(names)]
    batch, where = replay.sample(8, 4, online=False)
    assert batch.instance.tolist() == where.streams.tolist()
    assert {len(e.signals) for e in replay.episodes() if e.stream.number == 1} == {len(names)}


def test_other_environments_than_before_begin_again(tmp_path: Path) -> None:
    replay = Replay(tmp_path, INTERFACE, LAYOUT)
    own = collector(replay, [PLAIN])
    run(own, Policy(), 8)
    state = own.state()
    own = collector(replay, [RICH, PLAIN])
    own.restore(state, replay)
    run(own, Policy(), 3)
    assert replay.rows == 14
    assert own.streams == [1, 2]
