"""`manyheads web` as a user runs it, and a small world for it to show."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from manyheads.cli import manyheads

TASK = """
version: 1
environment: gymnasium/CartPole-v1
reward: {source: environment}
success: {when: {op: lt, x: {signal: cart_position}, than: 0.0}}
episode_steps: 40
goal: Keep the pole upright.
"""
TINY = (
    "world.deter=16", "world.hidden=8", "world.units=8", "training.batch_size=2", "training.batch_length=8",
    "training.num_envs=2", "training.train_ratio=2", "training.compile=false", "heads.actor_critic.horizon=2",
)  # fmt: skip


def make_world(folder: Path, name: str = "carts", steps: int = 200) -> Path:
    """Trains a small world with one head, `upright`."""
    task = folder / "upright.yaml"
    task.write_text(TASK)
    settings = [f"--set={each}" for each in TINY]
    arguments = ["train", folder / name, task, "--settings", "demo", *settings, "--steps", steps]
    result = CliRunner().invoke(manyheads, [*map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    task.unlink()
    return folder / name


class Server:
    """A running page: its address, and requests as a program sends them."""

    def __init__(self, process: subprocess.Popen[str], port: int, token: str) -> None:
        self.process, self.port, self.token = process, port, token
        self.address = f"http://127.0.0.1:{port}/?token={token}"

    def ask(self, path: str, body: object = None, **headers: str | None) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body. `headers` replace what a program with the token sends; None leaves one out."""
        given: dict[str, str | None] = {"Authorization": f"Bearer {self.token}"}
        sent = None
        if body is not None:
            sent = body if isinstance(body, bytes) else json.dumps(body).encode()
            given |= {"Content-Type": "application/json", "Content-Length": str(len(sent))}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = HTTPConnection("127.0.0.1", self.port, timeout=300)
        connection.putrequest("GET" if sent is None else "POST", path, skip_host="Host" in given)
        for name, value in given.items():
            if value is not None:
                connection.putheader(name, value)
        connection.endheaders(sent)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()

    def json(self, path: str, body: object = None) -> Any:
        """What is answered, which must be no refusal."""
        status, _, answer = self.ask(path, body)
        assert status == 200, answer
        return json.loads(answer)

    def refusal(self, path: str, body: object = None, **headers: str | None) -> tuple[int, str]:
        """Status and message of what must be refused."""
        status, _, answer = self.ask(path, body, **headers)
        assert status >= 400, answer
        return status, json.loads(answer)["error"]

    def events(self, path: str, count: int) -> Iterator[tuple[str, Any]]:
        """The first events of a stream."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=300)
        connection.request("GET", path, headers={"Authorization": f"Bearer {self.token}"})
        answer = connection.getresponse()
        assert answer.status == 200
        name = ""
        while count:
            line = answer.readline().decode()
            assert line, "the stream ended"
            if line.startswith("event: "):
                name = line.removeprefix("event: ").strip()
            if line.startswith("data: "):
                count -= 1
                yield name, json.loads(line.removeprefix("data: "))
        connection.close()


@contextmanager
def serving(folder: Path, background: bool = False) -> Iterator[Server]:
    """The command with its own port; Ctrl-C at the end. In the `background` of a script, Ctrl-C begins ignored."""
    process = subprocess.Popen(
        [sys.executable, "-m", "manyheads", "web", str(folder), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_IGN) if background else None,
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"http://127\.0\.0\.1:(\d+)/\?token=(\S+)", line):
                yield Server(process, int(found[1]), found[2])
                return
        raise AssertionError(process.stderr.read() if process.stderr else "no address was printed")
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=400)
