"""Harnesses that break a run in every way they can think of, and print how often it stood (`pytest -m slow -s`)."""

import json
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from test_trainer import TASKS, TINY, interrupt_at, run, same, weights

from manyheads import ManyheadsError
from manyheads.cli import manyheads
from manyheads.learning.refresh_latents import world_id
from manyheads.learning.trainer import Trainer
from manyheads.storage.world_folder import WorldFolder

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("MANYHEADS_KILLS", "10"))
"""at random, and twice as many inside a save"""
SHARE = float(os.environ.get("MANYHEADS_DAMAGES", "1"))
"""of the cases of damage, drawn at random"""
SECONDS = float(os.environ.get("MANYHEADS_SECONDS", "inf"))
"""after which no more of them are tried"""

CALLS = ("fsync", "open", "close", "replace", "unlink", "write")
"""of the system, that a save is made of"""


def die_inside_saving(number: int) -> None:
    """Ends this process by SIGKILL before the `number`-th of these calls inside a save."""
    save, left = Trainer.save, number

    def dying(call: Callable[..., Any]) -> Callable[..., Any]:
        def die(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)

        return die

    def saved(self: Trainer) -> None:
        for name in CALLS:
            setattr(os, name, dying(getattr(os, name)))
        save(self)

    Trainer.save = saved  # type: ignore[method-assign]


def train_in_child(world: Path, steps: int, number: int, seconds: float) -> int:
    """Trains in a forked process, which dies inside a save or after so many seconds; its wait status."""
    child = os.fork()
    if child == 0:
        try:
            if number:
                die_inside_saving(number)
            CliRunner().invoke(manyheads, ["train", str(world), "--steps", str(steps), "--yes"])
        finally:
            os._exit(0)
    if not number:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A world with a head trained jointly, a head trained alone, and an evaluation."""
    folder = tmp_path / "world"
    run("train", folder, TASKS[0], "--steps", 100, *TINY)
    run("finetune", folder, TASKS[1], "--updates", 2)
    run("evaluate", folder, "--episodes", 1)
    return folder


def check_whole(world: Path) -> int:
    """Everything that is read of a world can be read; latents are exact after a refresh. Returns the rows."""
    folder = WorldFolder.open(world)
    weights(world)
    trainer = Trainer(folder, [folder.task(TASKS[1])], frozen=True)
    try:
        run_updates(trainer)
        assert trainer.replay.world_id == world_id(trainer.world)
        assert trainer.replay.stale_episodes() == []
        return trainer.replay.rows
    finally:
        trainer.close()
        assert not [*world.rglob(".*.part")]


def run_updates(trainer: Trainer) -> None:
    from manyheads.report.metrics import Metrics
    from manyheads.report.progress import Progress

    with Metrics(trainer.folder.path) as metrics, Progress(1, "checking") as progress:
        trainer.imagine(trainer.updates + 1, progress, metrics)


def test_kills(world: Path) -> None:
    """SIGKILL at random moments, and at calls of the system inside a save."""
    counts: Counter[str] = Counter()
    moments = random.Random(0)
    rows = check_whole(world)
    for number in [*range(1, 4 * KILLS, 2), *[0] * KILLS]:
        steps = rows + 20 if number else 1_000_000
        status = train_in_child(world, steps, number, moments.uniform(2, 15))
        killed = os.WIFSIGNALED(status)
        counts[("killed inside saving" if number else "killed at random") if killed else "ended before"] += 1
        now = check_whole(world)
        assert now >= rows, f"rows were lost after call {number}"
        counts["rows"] += now - rows
        rows = now
        counts["whole"] += 1
    print(dict(counts))
    assert counts["killed inside saving"] >= KILLS


def damages(path: Path, random_numbers: random.Random) -> Iterator[tuple[str, bytes]]:
    """Kinds of damage, and the content that each leaves."""
    content = path.read_bytes()
    if not content:
        return
    yield "cut", content[: len(content) // 2]
    yield "emptied", b""
    for _ in range(3):
        flipped = bytearray(content)
        flipped[random_numbers.randrange(len(content))] ^= 1 << random_numbers.randrange(8)
        yield "flipped", bytes(flipped)
    if path.suffix == ".json":
        values = json.loads(content)
        for key in values if isinstance(values, dict) else ():
            for wrong in ("text", [1], None, -1.5):
                yield "wrong type", json.dumps({**values, key: wrong}).encode()


KINDS = {
    "checkpoint.json": "manifest", "world.yaml": "world", "evaluations.json": "evaluations", "replay.json": "header",
    "stream.json": "sidecar", "task.yaml": "task", "metrics.jsonl": "metrics",
    ".safetensors": "weights", ".rows": "rows", ".latents": "latents",
}  # fmt: skip


def test_damage(world: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each kind of file, damaged: a message of one line that names it, or no harm; never a traceback."""
    counts: Counter[tuple[str, str, str]] = Counter()
    wrong = []
    numbers, end = random.Random(0), time.monotonic() + SECONDS
    files = [p for p in sorted(world.rglob("*")) if p.is_file() and any(p.name.endswith(end) for end in KINDS)]
    numbers.shuffle(files)
    reference = weights(world)
    for path in files:
        kind = next(kind for end, kind in KINDS.items() if path.name.endswith(end))
        for damage, content in damages(path, numbers):
            if content == path.read_bytes() or numbers.random() > SHARE or time.monotonic() > end:
                continue
            broken = tmp_path / f"broken{counts.total()}"  # what is said once of a folder is said of each
            shutil.copytree(world, broken)
            (broken / path.relative_to(world)).write_bytes(content)
            outcome = judge(broken, reference, kind in ("metrics", "evaluations"))
            if outcome == "harmless" and f"{broken}/" in caplog.text:
                outcome = "named"
            counts[kind, damage, outcome.partition(":")[0]] += 1
            if not outcome.startswith(("named", "harmless")) or (kind, outcome) == ("rows", "harmless"):
                wrong.append(f"{path.relative_to(world)} {damage}: {outcome}")
            shutil.rmtree(broken)
    for (kind, damage, outcome), count in sorted(counts.items()):
        print(f"{kind:12} {damage:10} {outcome:10} {count}")
    assert not wrong, "\n".join(wrong)


def judge(broken: Path, reference: dict[str, torch.Tensor], reported: bool) -> str:
    """What the commands make of a damaged world."""
    try:
        if not same(reference, weights(broken)):
            return "silent: other weights were read"
    except ManyheadsError:
        pass
    except Exception as error:  # what no user should see is counted
        return f"traceback: reading: {type(error).__name__}: {error}"
    report = [["report", "--video-steps", "0"]] if reported else []
    for arguments in (
        ["show"],
        *report,
        ["evaluate", "--episodes", "1"],
        ["train", "--yes", "--steps", "104"],
        ["finetune"],
    ):
        more = [TASKS[1], "--updates", "3"] if arguments == ["finetune"] else arguments[1:]
        result: Result = CliRunner().invoke(manyheads, [arguments[0], str(broken), *more])
        error = result.exception
        if isinstance(error, ManyheadsError):
            return "named" if str(broken) in str(error) and "\n" not in str(error) else f"unnamed: {error}"
        if error is not None and not isinstance(error, SystemExit):
            return f"traceback: {arguments[0]}: {type(error).__name__}: {error}"
    return "harmless"


@pytest.mark.parametrize("kind", ["plain", "workers", "capacity", "two tasks"])
def test_resumed_and_straight_runs(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped at random moments, twice: the same weights and the same rows as the run that was not."""
    moments = random.Random(kind)
    settings: dict[str, Callable[[], list[str]]] = {
        "plain": lambda: [TASKS[0], f"--set=training.train_ratio={moments.choice([1, 4, 16])}"],
        "workers": lambda: [TASKS[0], "--set=training.workers=2"],
        "capacity": lambda: [TASKS[0], "--set=training.capacity_rows=1024", "--set=training.train_ratio=0.5"],
        "two tasks": lambda: [*TASKS, "--set=training.num_envs=4"],
    }
    steps, envs = (1400 if kind == "capacity" else 160), (4 if kind == "two tasks" else 2)
    stood = 0
    for number in range(3):
        straight, stopped = tmp_path / f"straight{number}", tmp_path / f"stopped{number}"
        new = [*TINY, *settings[kind](), "--steps", str(steps)]
        run("train", straight, *new)
        calls = sorted(moments.sample(range(2, steps // envs), 2))
        for call in (calls[0], calls[1] - calls[0]):
            with monkeypatch.context() as patch:
                interrupt_at(patch, call)
                run("train", stopped, *new, code=1)
        run("train", stopped, *new)
        assert same(weights(straight), weights(stopped)), calls
        rows = [{p.relative_to(w): p.read_bytes() for p in w.rglob("*.rows")} for w in (straight, stopped)]
        assert rows[0] == rows[1], calls
        stood += 1
    print(f"{kind}: {stood} of 3 equal, rows and weights")
