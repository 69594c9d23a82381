"""Collectors on a cluster of local nodes: steps a second with 1, 2, 4 of them, and what crashes cost.

`python benchmarks/ray_cluster.py speed` counts rows of an environment whose step takes 10 ms, for each number of
collectors. `python benchmarks/ray_cluster.py crashes --minutes 10` trains while a collector, a learner or a node is
killed again and again, and checks that every row that was stored is still there. Both start a cluster of real processes
(`ray.cluster_utils.Cluster`) and take it down again.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click
import gymnasium
import numpy as np
import psutil
from ray.cluster_utils import Cluster

STEP = 0.01
"""seconds that a step of the environment takes"""
EPISODE = 50
"""steps of its episodes"""
SETTINGS = """
world: {size: demo, deter: 32, hidden: 16, units: 16, groups: 4, classes: 4}
training: {batch_size: 4, batch_length: 8, train_ratio: 1, num_envs: 8, compile: false}
"""
TASK = """
version: 1
environment: gymnasium/ray_cluster:Slow-v0
reward: {source: environment}
head: actor_critic
episode_steps: 50
goal: Wait.
"""
PORTS = ("metrics_agent_port", "dashboard_agent_listen_port", "runtime_env_agent_port", "metrics_export_port")
"""ports that a node finds by itself, given here: a busy machine may take longer to find them than Ray waits"""


class Slow(gymnasium.Env[Any, Any]):
    """Takes its time for each step, without work: several at once need no more cores than one."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return self.np_random.uniform(-1, 1, 2).astype(np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        time.sleep(STEP)
        self.steps += 1
        observation = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return observation, float(action[0]), self.steps >= EPISODE, False, {}


gymnasium.register("Slow-v0", entry_point="ray_cluster:Slow")


class LocalNodes:
    """A head node, where the command runs, and others that can be lost."""

    def __init__(self, others: int, cpus: int) -> None:
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")
        self.cluster, self._port = Cluster(), 23000
        self.cluster.add_node(num_cpus=cpus, **self._ports())
        self.others = [self.cluster.add_node(num_cpus=cpus, **self._ports()) for _ in range(others)]
        self.cpus = cpus

    def replace(self) -> None:
        """Kills one of the other nodes, all its processes at once, and starts a new one."""
        node = self.others.pop(0)
        self.cluster.remove_node(node, allow_graceful=False)
        self.others.append(self.cluster.add_node(num_cpus=self.cpus, **self._ports()))

    def _ports(self) -> dict[str, int]:
        self._port += len(PORTS)
        return {name: self._port + i for i, name in enumerate(PORTS)}


@contextmanager
def workplace() -> Iterator[Path]:
    """A folder with the settings and the task, whose environment the processes of all nodes can import."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "settings.yaml").write_text(SETTINGS)
        (folder / "slow.yaml").write_text(TASK)
        here = str(Path(__file__).parent)
        os.environ["PYTHONPATH"] = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
        os.environ["MANYHEADS_ALLOW_MODULES"] = Path(__file__).stem
        yield folder


def command(folder: Path, steps: int, address: str, **options: Any) -> list[str]:
    """`manyheads train`, on the cluster."""
    sets = [part for name, value in options.items() for part in ("--set", f"ray.{name}={value}")]
    world, files = str(folder / "world"), [str(folder / "slow.yaml"), "--settings", str(folder / "settings.yaml")]
    runner = ["--runner", "ray", "--set", f"ray.address={address}", *sets]
    return [sys.executable, "-m", "manyheads", "train", world, *files, "--steps", str(steps), *runner]


@click.group()
def main() -> None:
    """Collectors, learners and nodes of a local cluster."""


@main.command()
@click.option("--rows", default=1600, show_default=True, help="to collect with each number of collectors")
@click.option("--nodes", default=2, show_default=True, help="in addition to the node of the learner")
def speed(rows: int, nodes: int) -> None:
    """Rows a second with 1, 2 and 4 collectors, from the first row to the last; prints a line of JSON for each."""
    results = []
    with workplace() as folder:
        cluster = LocalNodes(nodes, cpus=4)
        for collectors in (1, 2, 4):
            place = folder / f"{collectors}"
            place.mkdir()
            for name in ("settings.yaml", "slow.yaml"):
                (place / name).write_text((folder / name).read_text())
            subprocess.run(command(place, rows, cluster.cluster.address, collectors=collectors), check=True)
            results.append(_speed(place / "world", collectors))
            print(json.dumps(results[-1]), flush=True)
        cluster.cluster.shutdown()


def _speed(world: Path, collectors: int) -> dict[str, float]:
    """Between the ends of episodes, as the world's metrics have them: the start of Ray is left out."""
    lines = [json.loads(line) for line in (world / "metrics.jsonl").read_text().splitlines()]
    first, last = lines[0], lines[-1]
    rate = (last["step"] - first["step"]) / max(last["time"] - first["time"], 1e-9)
    return {"collectors": collectors, "rows_a_second": round(rate, 1)}


@main.command()
@click.option("--minutes", default=10.0, show_default=True)
@click.option("--wait", default=240.0, show_default=True, help="seconds in which rows must come again after a crash")
@click.option("--learners", default=2, show_default=True)
@click.option("--seed", default=0, show_default=True)
def crashes(minutes: float, wait: float, learners: int, seed: int) -> None:
    """Kills a collector, a learner or a node, waits until rows come again, and so on; prints counts as JSON."""
    chance, counts = random.Random(seed), {"collector": 0, "node": 0, **({"learner": 0} if learners > 1 else {})}
    with workplace() as folder:
        cluster = LocalNodes(2, cpus=4)
        options = {"collectors": 2, "learners": learners, "patience": 20, "startup": wait}
        arguments = command(folder, 10**9, cluster.cluster.address, **options)
        run = subprocess.Popen([*arguments, "--set", "training.checkpoint_minutes=0.2"])
        world, slowest = folder / "world", 0.0
        try:
            seen = grown({}, world, run, wait)
            ends = time.monotonic() + 60 * minutes
            while time.monotonic() < ends:
                kind = chance.choice([*counts])
                if kind == "node":
                    cluster.replace()
                elif not kill_one({"collector": "ray::CollectorActor", "learner": "ray::RayTrainWorker"}[kind]):
                    continue  # it is just beginning again
                counts[kind] += 1
                began = time.monotonic()
                time.sleep(chance.uniform(3, 10))  # rows that were on their way are in by then
                seen = grown(stored(world), world, run, wait, since=seen)
                slowest = max(slowest, time.monotonic() - began)
                print(json.dumps({"killed": kind, "seconds": round(time.monotonic() - began, 1)}), flush=True)
        finally:
            run.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                run.wait(60)
            run.kill()
            cluster.cluster.shutdown()
        rows = sum(stored(world).values())
        print(json.dumps({"killed": counts, "rows": rows, "slowest_recovery_s": round(slowest, 1)}))


def grown(
    before: dict[str, int],
    world: Path,
    run: subprocess.Popen[bytes],
    wait: float,
    since: dict[str, int] | None = None,
) -> dict[str, int]:
    """The rows of each file, once there are twenty more than before; fails where any of `since` is gone, or none
    comes."""
    deadline = time.monotonic() + wait
    while True:
        now = stored(world)
        lost = {name: count for name, count in (since or before).items() if now.get(name, 0) < count}
        assert not lost, f"rows of {lost} are gone"
        if sum(now.values()) >= sum(before.values()) + 20:
            return now
        assert run.poll() is None, f"training ended with {run.returncode}"
        assert time.monotonic() < deadline, f"no row came for {wait:g} s"
        time.sleep(0.5)


def stored(world: Path) -> dict[str, int]:
    """Rows in each file of the replay."""
    found = {}
    for sidecar in world.glob("replay/*/stream.json"):
        size = json.loads(sidecar.read_text())["bytes"]
        found.update({str(path): path.stat().st_size // size for path in sidecar.parent.glob("*.rows")})
    return found


def kill_one(name: str) -> bool:
    """Kills one process of Ray's whose title begins so."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if "".join(process.cmdline()).startswith(name):
                found.append(process)
    if found:
        random.choice(found).kill()
    return bool(found)


if __name__ == "__main__":
    main()
