"""Files that are named, read and written: size before content, nothing else overwritten, all that is written read."""

import json
import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from test_trainer import TASKS, TINY, run

from manyheads import ManyheadsError, TaskFile, atomic, load_task, yamlfile
from manyheads.cli import manyheads
from manyheads.environment.layout import SpaceLayout
from manyheads.report.metrics import read

LINE = {"step": 1, "updates": 1, "time": 1.0, "numbers": {"t/return": 2.0}}
GIB3 = 3 << 30


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained world; only to be copied."""
    folder = tmp_path_factory.mktemp("files") / "world"
    run("train", folder, TASKS[0], "--steps", 40, *TINY)
    return folder


# --- size before content ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["/dev/zero", "a folder", "3 GiB", "a pipe that nobody writes to"])
@pytest.mark.parametrize(
    "command",
    [
        ["reward", "check"],
        ["reward", "explain"],
        ["train", "new", TASKS[0], "--settings"],
        ["train", "new"],
        ["goal", "Go left", "--environment", "dmc/cartpole", "--yes", "--out", "goal.yaml", "--model"],
    ],
)
def test_what_is_no_short_file_is_refused_unread(
    kind: str, command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind.startswith("a pipe") and command[-1] in ("--settings", "--model"):
        pytest.skip("an empty file of settings sets nothing, and one of replies weighs alike")
    monkeypatch.chdir(tmp_path)
    file = Path("file.yaml")
    if kind == "3 GiB":
        with file.open("wb") as sparse:
            sparse.truncate(GIB3)
    elif kind.startswith("a pipe"):
        os.mkfifo(file)
    elif kind == "a folder":
        file.mkdir()
    else:
        file.symlink_to(kind)
    last = f"scripted:{file}" if command[-1] == "--model" else str(file)
    result = CliRunner().invoke(manyheads, [*command, last])
    assert result.exit_code == 1
    assert result.exception is None or isinstance(result.exception, (ManyheadsError, SystemExit))
    said = f"{result.output}{result.exception}"
    assert "MemoryError" not in said
    if not kind.startswith("a pipe"):
        assert "file.yaml is larger than" in said or "file.yaml is a " in said
    assert not Path("new").exists()


@pytest.mark.parametrize(
    "name",
    ["checkpoint.json", "world.yaml", "evaluations.json", "metrics.jsonl", "replay/replay.json", "heads/*/task.yaml"],
)
def test_a_world_s_files_are_not_read_whole_when_they_are_huge(name: str, world: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(world, tmp_path / "world"))
    path = next(copy.glob(name), copy / name)
    with path.open("wb") as sparse:
        sparse.truncate(GIB3)
    result = CliRunner().invoke(manyheads, ["report", str(copy), "--video-steps", "0"])
    said = f"{result.exception}{(copy / 'report.html').read_text() if result.exit_code == 0 else ''}"
    assert f"{path.name} is larger than" in said or f"{path.name} has a line of more than" in said


@pytest.mark.parametrize("command", [["show"], ["finetune", TASKS[1], "--updates", "1", "--no-check"]])
@pytest.mark.parametrize("left", [0, 0.5])
def test_rows_that_were_cut_off_are_said(
    command: list[str], left: float, world: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """At a row's edge, where a file of rows looks whole; by commands that resume no run, too."""
    broken = tmp_path / "broken"
    shutil.copytree(world, broken)
    path = sorted(broken.glob("replay/*/*.rows"))[0]
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * left)])
    run(command[0], broken, *command[1:])
    assert f"{path.parent} holds" in caplog.text
    assert "its newest file was cut short" in caplog.text


def test_a_pipe_with_a_writer_is_read(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"text")
    os.close(writing)
    assert atomic.read_text(Path(f"/dev/fd/{reading}")) == "text"
    os.close(reading)


# --- what is read back ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "key"),
    [
        (b"null", ""),
        (b"[" * 100_000, ""),
        (b"\xff\xfe", ""),
        (json.dumps({**LINE, "numbers": [1]}).encode(), "numbers: "),
        (json.dumps({**LINE, "step": "a"}).encode(), "step: "),
        (json.dumps({**LINE, "time": None}).encode(), "time: "),
        (json.dumps({**LINE, "time": float("nan")}).encode(), "time: "),
        (json.dumps({**LINE, "numbers": {"t/return": "2"}}).encode(), "numbers.*: "),
        (json.dumps({**LINE, "more": 1}).encode(), "more: "),
        (b'{"step": %s, "updates": 1, "time": 1.0, "numbers": {}}' % (b"9" * 5000), ""),
    ],
)
def test_a_wrong_line_of_metrics_is_named_with_its_key(line: bytes, key: str, tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_bytes(json.dumps(LINE).encode() + b"\n" + line + b"\n" + b"torn")
    with pytest.raises(ManyheadsError, match=rf"metrics.jsonl, line 2 is not a line of metrics: {key}"):
        read(tmp_path)


@pytest.mark.parametrize(
    "line", [b"[1]", b"null", b"{", b'{"call": "decision", "about": 3}', b"\xff", b"[" * 100_000, b"3"]
)
def test_a_wrong_line_of_a_journal_is_named(line: bytes, world: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(world, tmp_path / "world"))
    journal = next(copy.glob("heads/*")) / "goal.jsonl"
    journal.write_bytes(line + b"\n")
    run("report", copy, "--video-steps", 0)
    assert "goal.jsonl can&#39;t be read" in (copy / "report.html").read_text()


def test_long_layouts_are_short_files_and_the_same_when_read_back() -> None:
    names = (
        *(f"x[{i}]" for i in range(25_600)),
        "y",
        "x[9]",
        "x[10]",
        "x[007]",
        "z.1[0]",
        "z.1[1]",
        "z.1[2]",
        "z.1[3]",
    )
    layout = SpaceLayout(vector=names, continuous=("a[0]",))
    written = layout.model_dump(mode="json")
    assert written["vector"] == ["x[0:25600]", "y", "x[9]", "x[10]", "x[007]", "z.1[0:4]"]
    assert SpaceLayout.model_validate(written) == layout
    assert layout.union(layout) == layout
    for wrong in ("x[3:2]", "x[0:99999999999]"):
        with pytest.raises(ValueError, match="not a range of entries"):
            SpaceLayout(vector=[wrong])  # type: ignore[arg-type]


WIDE = """
import gymnasium
import numpy as np
from manyheads import Environment, hookimpl

class Wide(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(0, 65535, (160, 160), np.uint16)
    action_space = gymnasium.spaces.Discrete(2)
    def reset(self, *, seed=None, options=None):
        return np.zeros((160, 160), np.uint16), {}
    def step(self, action):
        return np.ones((160, 160), np.uint16), 1.0, False, False, {}
"""


def test_a_world_of_25600_numbers_is_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wide_envs.py").write_text(f"{WIDE}\ngymnasium.register('Wide-v0', Wide)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("MANYHEADS_ALLOW_MODULES", "wide_envs")
    task = tmp_path / "wide.yaml"
    task.write_text(
        "version: 1\nenvironment: gymnasium/wide_envs:Wide-v0\nreward: {source: environment}\nepisode_steps: 5\n"
    )
    run("train", tmp_path / "world", task, *TINY, "--steps", 12)
    assert (tmp_path / "world" / "world.yaml").stat().st_size < 10_000
    run("show", tmp_path / "world")
    run("train", tmp_path / "world", "--steps", 16)


def test_nothing_is_written_that_is_not_read_back(tmp_path: Path) -> None:
    with pytest.raises(ManyheadsError, match="would have 1200 kB, and no file of more than 1000 kB is read back"):
        yamlfile.write(tmp_path / "x.yaml", {"text": "x" * 1_200_000})
    assert not [*tmp_path.iterdir()]


def test_an_empty_world_is_recreated(tmp_path: Path) -> None:
    """One whose first run ended before anything was collected is no world with other settings."""
    world = tmp_path / "world"
    run("train", world, TASKS[0], "--steps", 40, *TINY)
    for left in ("replay", "tensorboard", "train"):
        shutil.rmtree(world / left, ignore_errors=True)
    for file in [*world.rglob("*.safetensors"), world / "checkpoint.json"]:
        file.unlink()
    run("train", world, TASKS[1], "--steps", 40, *TINY, "--set=seed=7")
    assert json.loads(run("show", world, "--json"))["heads"][0]["task"] == TASKS[1]
    with pytest.raises(ManyheadsError, match="was made with other settings: seed"):
        run("train", world, TASKS[1], "--steps", 50, "--set=seed=8")


# --- names as paths ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("out", ["", " ", "park.jsonl", "world.json", ".", "goals/"])
def test_a_goal_is_written_to_yaml_alone(out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("park.jsonl").write_text("mine\n")
    command = ["goal", "Go left", "--environment", "dmc/cartpole", "--yes", "--out", out]
    result = CliRunner().invoke(manyheads, command)
    assert result.exit_code == 2
    assert "is not a name for this file: expected one that ends in .yaml or .yml" in result.output
    assert Path("park.jsonl").read_text() == "mine\n"


@pytest.mark.parametrize(
    ("kept", "content"),
    [
        ("park.jsonl", '{"angle": 3}\n'),
        ("park.jsonl", "not even JSON"),
        ("park.yaml", "format: 2\n"),
        ("park.yaml", "notes: of mine\n"),
    ],
)
def test_a_goal_overwrites_nothing_but_goals(
    kept: str, content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(kept).write_text(content)
    with pytest.raises(ManyheadsError, match=f"{kept} .*Choose another --out"):
        run(
            "goal",
            "Park the cart at the left end",
            "--environment",
            "dmc/cartpole",
            "--yes",
            "--out",
            "park.yaml",
        )
    assert Path(kept).read_text() == content


@pytest.mark.parametrize("command", [["train"], ["show"], ["evaluate"], ["finetune"], ["goal", "x", "--world"]])
def test_an_empty_path_is_not_the_current_folder(command: list[str]) -> None:
    result = CliRunner().invoke(manyheads, [*command, "", *(["task"] if command in (["train"], ["finetune"]) else [])])
    assert result.exit_code == 2
    assert "'' is not a path" in result.output


def test_devices_and_folders_are_not_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for path in (Path("/dev/null"), tmp_path, tmp_path / "pipe.yaml", Path()):
        with pytest.raises(ManyheadsError, match="is not a name of a file"):
            atomic.write_text(path, "x")
    assert not Path("/dev/null").is_file()


def test_a_task_written_by_any_name_is_read_back(tmp_path: Path) -> None:
    content = TaskFile.model_validate(
        {"version": 1, "environment": "gymnasium/Pendulum-v1", "reward": {"source": "environment"}, "episode_steps": 9}
    )
    for name in ("$\\bad{$.yaml", "é [i].yaml", "a__b.yaml"):
        assert load_task(content.write(tmp_path / name)).content == content


def test_a_damaged_option_is_named_with_the_world_s_file(world: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(world, broken)
    file = broken / "world.yaml"
    file.write_text(file.read_text().replace("image_size: null", "image_size: nuLl"))
    result = CliRunner().invoke(manyheads, ["show", str(broken)])
    assert isinstance(result.exception, ManyheadsError)
    assert str(result.exception).startswith(f"{file}: ")
    assert "image_size='nuLl'" in str(result.exception)
