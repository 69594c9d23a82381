"""Collectors, learners, heads and sweeps on Ray: the parts in this process, and runs whose processes are killed."""

import json
import os
import shutil
import signal
import threading
import time

import numpy as np
import psutil
import pytest
import torch

pytest.importorskip("ray")

import itertools
from contextlib import closing

from ray.exceptions import ObjectStoreFullError, RaySystemError

import manyheads
from manyheads.api.finetuning import finetune as training_heads
from manyheads.api.run import RunOptions
from manyheads.callbacks import Monitoring
from manyheads.experience.records import Rows
from manyheads.experience.replay import Replay
from manyheads.report.metrics import Metrics
from manyheads.report.progress import Progress
from manyheads.runners import RunnerKind
from manyheads.settings import load_settings
from manyheads.storage.growth import records
from manyheads.storage.world_folder import WorldFolder
from manyheads.training import CollectorContext, PolicySnapshot, StopRequest, Trainer
from manyheads_ray import RaySettings
from manyheads_ray.blueprint import Blueprint
from manyheads_ray.cluster import connected, in_words, require_same_versions, versions
from manyheads_ray.collector_actor import CollectorActor, Request
from manyheads_ray.heads import Part, divided, train_part
from manyheads_ray.lag import Lag, chunk_steps
from manyheads_ray.row_block import BlockSink
from manyheads_ray.sweep import _variants
from manyheads_ray.sweep_page import Cell, read_cells, write_page
from manyheads_ray.weights import Weights

SMALL = ["world.size=demo", "world.deter=16", "world.hidden=8", "world.units=16", "world.groups=4", "world.classes=4"]
SMALL += ["training.batch_size=4", "training.batch_length=8", "training.train_ratio=4", "training.num_envs=4"]
SMALL += ["training.compile=false"]
TASK = "gymnasium/CartPole-v1-balance"


@pytest.fixture
def folder(tmp_path):
    task = manyheads.load_task(TASK)
    made = WorldFolder.create(tmp_path / "world", load_settings(None, SMALL), records([task]))
    made.save_task(task)
    return made


@pytest.fixture
def blueprint(folder):
    return Blueprint.of(folder, [manyheads.load_task(TASK)])


def snapshot(blueprint, version=0):
    torch.manual_seed(0)
    world, heads, _ = blueprint.build()
    return PolicySnapshot.of(world, heads, version)


def arrays(snapshot):
    """As they come out of the object store."""
    from manyheads_ray.weights import _mapped

    return _mapped(snapshot, lambda x: x.numpy())


def blocks(blueprint, number, requests):
    actor = CollectorActor(blueprint, [TASK, TASK])
    weights = arrays(snapshot(blueprint, version=3))
    return [actor.collect(Request(at, 12, 100 + number, 2), weights) for at in requests]


def streams(replay, numbers):
    found = []
    for number in numbers:
        stream = replay._streams[number]
        rows = np.concatenate([chunk.rows for chunk in stream.chunks])
        found.append({name: rows[name].tolist() for name in rows.dtype.names})
    return found


def store(folder, blueprint, order, path):
    """Two collectors' blocks in the order of `order`; each one's own blocks come in order."""
    replay = Replay(path, folder.interface, folder.replay().latent)
    actors = [CollectorActor(blueprint, [TASK, TASK]) for _ in range(2)]
    own = [[replay.open_stream(instance) for instance in actor.greet().instances] for actor in actors]
    waiting = [blocks(blueprint, number, range(2)) for number in range(2)]
    for number in order:
        waiting[number].pop(0).store(replay, own[number])
    found = streams(replay, [stream for pair in own for stream in pair])
    replay.close()
    return found


def test_the_order_of_blocks_does_not_change_what_is_stored(folder, blueprint, tmp_path):
    one = store(folder, blueprint, (0, 0, 1, 1), tmp_path / "one")
    other = store(folder, blueprint, (1, 0, 1, 0), tmp_path / "other")
    assert one == other
    episodes = [set(stream["episode"]) for stream in one]
    assert sum(map(len, episodes)) == len(set.union(*episodes))


def test_a_collector_continues_in_its_episode_and_restarts_where_a_request_is_missing(blueprint):
    first, second, third = blocks(blueprint, 0, (0, 1, 5))
    assert first.began
    assert first.version == 3
    assert not second.began
    assert third.began
    for env in range(2):
        rows = list(zip(first.rows.episode[:, env], first.rows.index[:, env], strict=True))
        rows += zip(second.rows.episode[:, env], second.rows.index[:, env], strict=True)
        assert all(b == (a[0], a[1] + 1) or b[1] == 0 for a, b in itertools.pairwise(rows))
        assert third.rows.index[0, env] == 0


def test_what_a_collector_that_restarts_left_open_ends_truncated(folder, blueprint, tmp_path):
    replay = Replay(tmp_path / "replay", folder.interface, folder.replay().latent)
    greeting = CollectorActor(blueprint, [TASK, TASK]).greet()
    own = [replay.open_stream(instance) for instance in greeting.instances]
    first, _, third = blocks(blueprint, 0, (0, 1, 5))
    first.store(replay, own)
    last = [bool(stream["is_last"][-1]) for stream in streams(replay, own)]
    assert not all(last)
    third.store(replay, own)
    for stream in streams(replay, own):
        assert stream["is_last"][11]
        assert not stream["is_terminal"][11] or last[0]
        assert stream["is_first"][12]
    assert replay.new_episode() > max(max(stream["episode"]) for stream in streams(replay, own))
    replay.close()


def test_a_block_says_before_which_row_a_failed_environment_ended():
    sink = BlockSink(7, 3)
    assert [sink.new_episode(), sink.new_episode()] == [7, 10]
    flags = np.zeros(1, bool)
    row = Rows(None, np.zeros((1, 2), np.float32), np.zeros((1, 1), np.float32), np.zeros((1, 1)), flags, flags, flags,
               np.zeros(1, np.int64), np.zeros(1, np.int64))  # fmt: skip
    sink.add([0], row, np.zeros((1, 4), np.float32), np.zeros((1, 2, 2), np.float32))
    sink.end_episode(0)
    sink.add([0], row, np.zeros((1, 4), np.float32), np.zeros((1, 2, 2), np.float32))
    block = sink.take(0, False, [], [])
    assert block.ends == ((1, 0),)
    assert block.rows.vector.shape == (2, 1, 2)


def test_a_round_of_blocks_is_learned_from_within_half_the_largest_lag(folder):
    training = folder.settings.training
    for lag in (1, 20, 500):
        settings = RaySettings(max_lag=lag, chunk_steps=64)
        steps = chunk_steps(settings, training, ahead=2)
        updates = 2 * steps * training.num_envs * training.train_ratio / (training.batch_size * training.batch_length)
        assert steps == 1 or updates <= lag / 2
    assert chunk_steps(RaySettings(max_lag=500, chunk_steps=64), training, 2) == 64
    lag = Lag()
    for updates in (4, 0, 8):
        lag.count(updates)
    assert str(lag) == "Weights that acted were 4.0 updates old when their rows were stored, 8 at most."


def test_wrong_versions_and_addresses_are_named():
    with pytest.raises(manyheads.ManyheadsError, match=r"Node 10\.0\.0\.2 has torch 1\.0 where this command has 2\.0"):
        require_same_versions("10.0.0.2", {"torch": "1.0", "numpy": "2"}, {"torch": "2.0", "numpy": "2"})
    with pytest.raises(manyheads.ManyheadsError, match=r"No Ray cluster answers at 127\.0\.0\.1:9: Connection refused"):
        _enter("127.0.0.1:9")
    with pytest.raises(manyheads.ManyheadsError, match="is not an address: expected host:port"), connected("nowhere"):
        pass


def test_what_ray_raises_is_said_in_words():
    full = in_words(ObjectStoreFullError("Failed to put object"), "a policy's weights")
    assert isinstance(full, manyheads.ManyheadsError)
    assert "object store is full on node" in str(full)
    assert "a policy's weights found no room" in str(full)
    assert "ray start --object-store-memory=BYTES" in str(full)
    missing = in_words(RaySystemError("No module named 'manyheads_ray'"), "collectors")
    assert "has no module manyheads_ray, which collectors need there" in str(missing)
    other = RaySystemError("something else")
    assert in_words(other, "collectors") is other


def _enter(address):
    with connected(address):
        pass


def test_a_sweep_compares_seeds_and_writes_its_page(tmp_path):
    assert _variants(("optimizer.lr=1,2", "seed_free=a")) == [
        ("optimizer.lr=1", "seed_free=a"),
        ("optimizer.lr=2", "seed_free=a"),
    ]
    with pytest.raises(manyheads.ManyheadsError, match="expected KEY=A,B"):
        _variants(("optimizer.lr",))
    cells = [Cell(TASK, "", seed, tmp_path / str(seed)) for seed in (0, 1, 2)]
    for cell, score in zip(cells, (1.0, 3.0, None), strict=True):
        cell.world.mkdir()
        lines = [] if score is None else [
            {"step": step, "updates": 0, "time": 0.0, "numbers": {f"{TASK}/return": score * step / 100}}
            for step in range(10, 101, 10)
        ]  # fmt: skip
        (cell.world / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    [row] = read_cells(cells)
    assert (row["return"], row["lowest"], row["highest"], row["seeds"]) == (2.0, 1.0, 3.0, [0, 1])
    assert row["curve"]["steps"][-1] == 100
    write_page(tmp_path, [row])
    page = (tmp_path / "sweep.html").read_text()
    assert "<svg" in page
    assert TASK in page


@pytest.fixture
def ray_here():
    with connected("local"):
        yield


@pytest.mark.slow
def test_a_collector_that_is_killed_restarts_and_stored_rows_stay(folder, ray_here):
    from manyheads_ray.collectors import RayCollectors

    world, heads, _ = Blueprint.of(folder, [manyheads.load_task(TASK)]).build()
    replay = folder.replay()
    tasks = [manyheads.load_task(TASK)] * 4
    settings = RaySettings(collectors=2, collector_cpus=0.5)
    collectors = RayCollectors(CollectorContext(folder, tasks, world, heads, replay), settings, print)
    said, rows, killed = [], 0, False
    deadline = time.monotonic() + 240
    while rows < 2000 or not collectors.restarts:
        assert time.monotonic() < deadline
        result = collectors.collect(0, 10_000)
        rows += result.rows
        said += result.failures
        if rows > 500 and not killed:
            killed = True
            found = [p for p in psutil.process_iter() if "".join(p.cmdline()).startswith("ray::CollectorActor")]
            os.kill(found[0].pid, signal.SIGKILL)
    collectors.close()
    assert any("restarted: its open episodes ended, truncated" in line for line in said)
    assert replay.rows == rows
    assert all(not stream.has_open_episode for stream in replay._streams.values())
    replay.close()


def test_a_request_to_stop_in_another_thread_leaves_signals_alone():
    before = signal.getsignal(signal.SIGTERM)
    inside = []

    def work():
        with StopRequest() as stop:
            inside.append(signal.getsignal(signal.SIGTERM) is before)
            stop.requested = True

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert inside == [True]


def test_weights_are_put_once_for_each_number_of_updates(blueprint, monkeypatch):
    put = []
    monkeypatch.setattr("manyheads_ray.weights.ray.put", lambda x: put.append(x) or len(put))
    world, heads, _ = blueprint.build()
    weights = Weights(world, heads)
    assert [weights.at(1), weights.at(1), weights.at(2)] == [1, 1, 2]
    assert put[1].version == 2


NAMES = [TASK, "again", "short"]
UPDATES = 15


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A world that has recorded a few rows; only to be copied."""
    path = tmp_path_factory.mktemp("trained") / "world"
    manyheads.open_world(path, None, SMALL).train(TASK, steps=100, loggers=(), progress=False)
    return path


def heads():
    content = manyheads.load_task(TASK).content
    short = content.model_copy(update={"episode_steps": 300})
    return [each.resolve(name) for name, each in zip(NAMES, (content, content, short), strict=True)]


def finetune(world, tasks, updates, **options):
    return training_heads(world, tasks, updates, 0, RunOptions(loggers=()), **options)


def require_same_heads(one, other):
    """Bit for bit, with all that they continue from."""
    own, same = (WorldFolder.open(world).checkpoint for world in (one, other))
    assert {*own.names} == {*same.names}
    for run, record in own.state["runs"].items():
        assert {**record, "tasks": []} == {**same.state["runs"][run], "tasks": []}
    for name in own.names:
        tensors, others = own.read(name), same.read(name)
        assert tensors.keys() == others.keys()
        assert all(torch.equal(tensors[key], others[key]) for key in tensors), name


def part_of(folder, tasks, **options):
    given = {
        "number": 0,
        "path": str(folder.path),
        "world": (folder.path / "world.yaml").read_bytes(),
        "generation": folder.checkpoint.generation,
        "blueprint": Blueprint.of(folder, tasks),
        "updates": 3,
        "versions": versions(),
        "mailbox": None,
    }
    return Part(**{**given, **options})


def runs_a_part(process):
    try:
        return "".join(process.cmdline()).startswith("ray::train_part")
    except psutil.Error:
        return False


def test_heads_are_divided_evenly_and_by_environment():
    assert divided(["abcde"], 2) == [["a", "c", "e"], ["b", "d"]]
    assert divided(["abcd", "x"], 3) == [["a", "c"], ["b", "d"], ["x"]]
    assert divided(["ab", "x"], 1) == [["a", "b"], ["x"]]
    assert divided(["ab"], 9) == [["a"], ["b"]]


def test_parts_get_the_numbers_of_the_whole_and_only_read(trained, tmp_path):
    alone, stack, parts = (shutil.copytree(trained, tmp_path / name) for name in ("alone", "stack", "parts"))
    for tasks in divided([heads()], 2):
        finetune(alone, tasks, 3)
    finetune(stack, heads(), 3)
    folder = WorldFolder.open(parts)
    with closing(Trainer(folder, heads(), frozen=True)) as trainer:
        trainer.prepare(Progress(1, "", console=None))
        for task in heads():
            folder.save_task(task)
        trainer.save()
    files = {path: path.read_bytes() for path in parts.rglob("*") if path.is_file()}
    sent = []
    for tasks in divided([heads()], 2):
        part = part_of(folder, tasks)
        with closing(Trainer(part.open(), tasks, frozen=True, send=sent.append)) as trainer:
            trainer.imagine(part.updates, Progress(3, ""), Metrics(tmp_path / "numbers"))
    assert files == {path: path.read_bytes() for path in parts.rglob("*") if path.is_file()}
    for save in sent:
        save.write(folder.checkpoint)
    require_same_heads(alone, parts)
    for task in heads():
        weights = f"heads/{task.slug}/weights"
        own, stacked = (WorldFolder.open(world).checkpoint.read(weights) for world in (parts, stack))
        torch.testing.assert_close(own, stacked, rtol=0, atol=1e-5)


def test_a_part_on_a_node_with_another_folder_or_version_is_refused(trained, tmp_path):
    folder = WorldFolder.open(shutil.copytree(trained, tmp_path / "world"))
    for wrong in ({"path": str(tmp_path)}, {"world": b""}, {"generation": 99}):
        with pytest.raises(
            manyheads.ManyheadsError, match=r"Node \S+ does not see the world's folder .* all nodes share"
        ):
            train_part(part_of(folder, heads(), **wrong))
    with pytest.raises(manyheads.ManyheadsError, match=r"Node \S+ has torch .* where this command has 1\.0"):
        train_part(part_of(folder, heads(), versions={**versions(), "torch": "1.0"}))


def test_finetuning_elsewhere_is_refused_before_anything_is_done(trained):
    watched = RunOptions(Monitoring(evaluate_every=2), loggers=())
    with pytest.raises(manyheads.ManyheadsError, match="The runner ray takes neither callbacks nor evaluations"):
        training_heads(trained, heads(), 3, 0, watched, runner="ray")
    with pytest.raises(manyheads.ManyheadsError, match=r"ray\.parts=0: Input should be greater than or equal to 1"):
        finetune(trained, heads(), 3, runner="ray", runner_options={"parts": 0})
    alone = RunnerKind(name="test/alone", run=lambda *_: None)
    with pytest.raises(manyheads.ManyheadsError, match="The runner test/alone trains worlds, and no heads"):
        alone.heads_trainer()
    assert "again" not in WorldFolder.open(trained).heads


@pytest.mark.slow
def test_heads_on_several_processes_are_those_of_one_though_one_is_killed(trained, tmp_path, capfd):
    here, there = (shutil.copytree(trained, tmp_path / name) for name in ("here", "there"))
    for task in heads():
        finetune(here, [task], UPDATES)
    killed = []

    def kill():
        deadline = time.monotonic() + 240
        while not killed and time.monotonic() < deadline:
            found = [each for each in psutil.Process().children(recursive=True) if runs_a_part(each)]
            runs = json.loads((there / "checkpoint.json").read_text())["state"]["runs"]
            if found and any(record["updates"] for name, record in runs.items() if name != "train"):
                os.kill(found[0].pid, signal.SIGKILL)
                killed.append(found[0].pid)
            time.sleep(0.3)

    thread = threading.Thread(target=kill)
    thread.start()
    often = ["training.checkpoint_minutes=0.02"]
    finetune(there, heads(), UPDATES, overrides=often, runner="ray", runner_options={"parts": 9, "learner_cpus": 0.5})
    thread.join()
    said = capfd.readouterr().err
    assert killed
    assert "ray.parts=9 is more than there are heads to train: 3" in said
    assert "A process was lost" in said
    require_same_heads(here, there)


@pytest.mark.slow
def test_candidates_in_parts_are_judged_as_on_one_machine(trained, tmp_path, ray_here):
    here, there = (manyheads.load(shutil.copytree(trained, tmp_path / name)) for name in ("here", "there"))
    with pytest.raises(
        manyheads.ManyheadsError, match=r"Each part takes 999 cores, and no node of the cluster has more"
    ):
        there.imagine(heads(), 3, runner="ray", runner_options={"learner_cpus": 999}, progress=False)
    own = here.imagine(heads(), 3, steps=5, progress=False)
    same = there.imagine(heads(), 3, steps=5, runner="ray", runner_options={"learner_cpus": 0.5}, progress=False)
    for name in NAMES:
        for other, expected in own[name].expected.items():
            assert same[name].expected[other].mean == pytest.approx(expected.mean, abs=1e-3)
        for key, values in own[name].signals.items():
            np.testing.assert_allclose(same[name].signals[key], values, atol=1e-4)
