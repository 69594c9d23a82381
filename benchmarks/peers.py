"""Full updates of this project compared with those of a peer, alternating in one run: the ratio and its spread.

The peer is sheeprl, as its package on the package index is: DreamerV3 of the Nature paper, by default eager and in
float32; it goes into its own virtual environment with this environment's version of torch. Each side is a process
that makes an update when it is asked and otherwise waits, with as many threads as the other, on the CPU. Sides that
do not do equal work (parameters, batch, length, horizon, observations, actions, torch, threads) are not compared.

Both sides make the same update: the same networks and losses, one optimiser's step, the slow critic. This project's
reads its metrics too. torchrl's package has DreamerV3's losses, but the sizes and the agent are in an example whose
settings are not in the package, so it is left out.

A turn is several updates one after the other, as in training, and counts as their mean: the first one of a turn finds
caches cold and threads asleep after the other side's work.

    python benchmarks/peers.py [--workload proprio-1m|pixels-12m] [--rounds 8] [--updates 5] [--threads N] [--plain]
                               [--folder FOLDER] [--peer-set algo.compile.enabled=true] [--json]
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from manyheads.cli.bench.machine import forget_peak_memory, peak_memory_mb, show
from manyheads.learning.workload import WORKLOADS

HERE = Path(__file__).parent

PEER = "sheeprl 0.8.4"
REQUIREMENTS = (
    f"torch=={version('torch').partition('+')[0]} numpy",
    "--no-deps sheeprl==0.8.4 lightning==2.6.1 pytorch-lightning==2.6.6 lightning-utilities==0.15.3 "
    "torchmetrics==1.9.0 hydra-core==1.3.8 omegaconf<2.4 gymnasium==1.4.0 opencv-python rich",
    "antlr4-python3-runtime==4.9.3 packaging pyyaml tqdm python-dotenv moviepy tensorboard cloudpickle "
    "farama-notifications markdown-it-py pygments",
)
"""what pip is asked for, one call each: the peer without what its updates never import"""

EQUAL = (
    "parameters", "batch", "length", "horizon", "vector", "image", "continuous", "choices", "heads", "threads", "torch"
)  # fmt: skip
"""what both sides must say alike"""


@click.command()
@click.option("--workload", default="proprio-1m", show_default=True, type=click.Choice(["proprio-1m", "pixels-12m"]))
@click.option("--rounds", default=8, show_default=True, type=click.IntRange(min=2), help="turns of each side")
@click.option("--updates", default=5, show_default=True, type=click.IntRange(min=1), help="in a turn")
@click.option("--threads", default=os.cpu_count(), show_default="all cores", type=click.IntRange(min=1))
@click.option("--plain", is_flag=True, help="this project's plain path: uncompiled, float32")
@click.option("--peer-set", multiple=True, metavar="KEY=VALUE", help="one of the peer's settings")
@click.option(
    "--folder",
    default=Path.home() / ".cache" / "manyheads" / "peers",
    type=click.Path(path_type=Path, file_okay=False),
    help="where the peer is installed  [default: ~/.cache/manyheads/peers]",
)
@click.option("--json", "as_json", is_flag=True, help="one JSON object instead of a table")
def main(
    workload: str,
    rounds: int,
    updates: int,
    threads: int,
    plain: bool,
    peer_set: tuple[str, ...],
    folder: Path,
    as_json: bool,
) -> None:
    """Time updates of this project and of a peer in turn."""
    python = install(folder / "sheeprl")
    work = {**asdict(WORKLOADS[workload]), "threads": threads}
    with ExitStack() as stack:
        ours = stack.enter_context(
            Side("manyheads", Path(sys.executable), "peer_manyheads.py", work | {"plain": plain})
        )
        peer = stack.enter_context(Side(PEER, python, "peer_sheeprl.py", work | {"peer_set": peer_set}))
        refuse_unequal(ours.says, peer.says)
        times = [(ours.turn(updates), peer.turn(updates)) for _ in range(rounds)]
        result = {
            "workload": workload,
            **{key: ours.says[key] for key in EQUAL if ours.says[key]},
            "rounds": rounds,
            "updates": updates,
            **ratio(times),
            "manyheads": ours.summary([mine for mine, _ in times]),
            PEER: peer.summary([theirs for _, theirs in times]),
        }
    show(f"One update compared with {PEER}'s, {workload}", result, as_json)


class Side:
    """One side's process: `says` what it is, makes updates when asked, and waits otherwise."""

    def __init__(self, name: str, python: Path, script: str, work: Mapping[str, Any]) -> None:
        self.name = name
        environment = {**os.environ, "OMP_NUM_THREADS": str(work["threads"])}
        self.process = subprocess.Popen(
            [python, HERE / script, json.dumps(work)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        self.says: dict[str, Any] = self._answer()
        forget_peak_memory("cpu", self.process.pid)

    def turn(self, updates: int) -> float:
        """Milliseconds of one update: the mean of so many in a row."""
        return statistics.mean(self._update() for _ in range(updates))

    def _update(self) -> float:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return float(self._answer())

    def summary(self, times: list[float]) -> dict[str, Any]:
        """Times of its turns, the largest memory of its process since warming up, how it computes."""
        return {
            "median_ms": statistics.median(times),
            "fastest_ms": min(times),
            "slowest_ms": max(times),
            "first_ms": self.says["first_ms"],
            "peak_memory_mb": peak_memory_mb("cpu", self.process.pid),
            "compiled": self.says["compiled"],
            "precision": self.says["precision"],
        }

    def __enter__(self) -> Side:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise click.ClickException(f"{self.name} ended with code {self.process.wait()}; see what it said above.")
        return json.loads(line)


def install(folder: Path) -> Path:
    """The Python of the peer's virtual environment, which is made where it is not what it should be."""
    python, stamp = folder / "bin" / "python", folder / "requirements.json"
    wanted = json.dumps(REQUIREMENTS)
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    click.echo(f"Installing {PEER} into {folder}.", err=True)
    commands = [[sys.executable, "-m", "venv", folder]]
    commands += [[python, "-m", "pip", "install", "--quiet", *line.split()] for line in REQUIREMENTS]
    for command in commands:
        if code := subprocess.run(command, stdout=sys.stderr).returncode:
            raise click.ClickException(f"{' '.join(map(str, command))} ended with code {code}; see what it said above.")
    stamp.write_text(wanted)
    return python


def refuse_unequal(ours: Mapping[str, Any], peer: Mapping[str, Any]) -> None:
    """Raises click.ClickException where the sides do not do equal work."""
    for key in EQUAL:
        if ours[key] != peer[key]:
            raise click.ClickException(f"The work is not equal: {key} is {ours[key]} here and {peer[key]} in {PEER}.")


def ratio(times: list[tuple[float, float]]) -> dict[str, float]:
    """How many times longer the peer's updates take: of the medians, and of single rounds the lowest and highest."""
    ours, peer = zip(*times, strict=True)
    rounds = [theirs / mine for mine, theirs in times]
    return {
        "ratio": statistics.median(peer) / statistics.median(ours),
        "ratio_low": min(rounds),
        "ratio_high": max(rounds),
    }


if __name__ == "__main__":
    main()
