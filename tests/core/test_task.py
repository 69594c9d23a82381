"""Task files: read, checked, written, read back."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import manyheads
from helpers import entries, package
from manyheads import registry as registry_module
from manyheads import task as task_module
from manyheads.errors import ManyheadsError
from manyheads.registry import Registry
from manyheads.task import TaskFile, load_task, tasks

PLUGIN = """
import gymnasium
import numpy as np
from pydantic import Field
from manyheads import Environment, Options, Signal, hookimpl

class BoatOptions(Options):
    wind: float = Field(default=1.0, ge=0)

class Boat(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, options):
        self.wind = options.wind

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = self.np_random.uniform(-1, 1)
        return np.array([self.x], np.float32), {"signals": {"x": self.x}}

    def step(self, action):
        return np.array([self.x], np.float32), self.wind, False, False, {"signals": {"x": self.x}}

@hookimpl
def register_environments(register):
    signals = [Signal("x", "m", description="metres right")]
    register(Environment("sea/boat", Boat, signals=signals, options=BoatOptions))

@hookimpl
def register_tasks(register):
    from pathlib import Path
    register(Path(__file__).parent / "sea_tasks")
"""
GOOD = """\
version: 1
environment: sea/boat
options: {wind: 2}
reward: {source: environment}
success:
  when: {op: gt, x: {signal: x}, than: 1e-3}
  held_for: 3
head: actor_critic
episode_steps: 5
goal: Sail to the right.
"""


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A registry of the core and one plugin with an environment and a task."""
    place = tmp_path_factory.mktemp("sea")
    files = {"manyheads_sea.py": PLUGIN, "sea_tasks/sea/boat-right.yaml": GOOD}
    package(place, "sea", files)
    package(place, "core", {}, entry="manyheads.builtins")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(place))
        made = Registry(entries(place))
        patch.setattr(registry_module, "registry", lambda: made)
        patch.setattr(task_module, "registry", lambda: made)
        yield place


def test_registered_task_has_everything() -> None:
    task = load_task("sea/boat-right")
    assert (task.name, task.slug, task.environment, task.head) == (
        "sea/boat-right",
        "sea__boat-right",
        "sea/boat",
        "actor_critic",
    )
    assert task.options == {"wind": 2.0}
    assert task.instance.key == 'sea/boat {"wind": 2.0}'
    assert task.success is not None
    assert task.success.held_for == 3
    assert task.episode_steps == 5
    assert task.goal == "Sail to the right."
    reward, terminated = task.reward.label({"reward": np.array([1.0, 2.0])})
    assert reward.tolist() == [0, 2]
    assert not terminated.any()


def test_environment_of_a_task_has_its_time_limit_and_seed() -> None:
    env = load_task("sea/boat-right").make_environment(seed=3)
    first, info = env.reset()
    assert info["signals"] == {"reward": 0.0, "x": pytest.approx(float(first[0]))}
    truncated = [env.step(0)[3] for _ in range(5)]
    assert truncated == [False, False, False, False, True]
    second, _ = env.reset()
    assert second != first
    assert env.reset(seed=3)[0] == first
    assert manyheads.load_task("sea/boat-right").make_environment(seed=3).reset(seed=4)[0] != first


def test_names_come_from_the_files_place(tmp_path: Path, folder: Path) -> None:
    stray = tmp_path / "mine.yaml"
    stray.write_text(GOOD)
    assert load_task(stray).name == "mine"
    assert load_task(str(stray)).name == "mine"
    assert load_task(stray, name="sea/other").name == "sea/other"
    assert load_task(folder / "sea_tasks" / "sea" / "boat-right.yaml").name == "sea/boat-right"


def test_written_task_reads_back_equal_and_is_short(tmp_path: Path) -> None:
    task = load_task("sea/boat-right")
    again = load_task(task.write(tmp_path / "again.yaml"))
    assert again.content == task.content
    assert (tmp_path / "again.yaml").read_text().count("\n") <= GOOD.count("\n") + 3
    assert [path.name for path in tmp_path.iterdir()] == ["again.yaml"]


def test_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = load_task("sea/boat-right").write(tmp_path / "task.yaml")
    before = path.read_text()

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(ManyheadsError, match="No space left on device"):
        load_task("sea/boat-right").write(path)
    assert path.read_text() == before


@settings(max_examples=50, deadline=None)
@given(
    goal=st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), max_size=100),
    wind=st.floats(0, 1e6),
    steps=st.integers(1, 10_000),
    than=st.floats(-1e6, 1e6),
)
def test_any_task_survives_writing(
    goal: str, wind: float, steps: int, than: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = TaskFile.model_validate(
        {
            "version": 1,
            "environment": "sea/boat",
            "options": {"wind": wind},
            "reward": {"source": "environment"},
            "success": {"when": {"op": "lt", "x": {"signal": "x"}, "than": than}},
            "episode_steps": steps,
            "goal": goal,
        }
    )
    path = content.write(tmp_path_factory.mktemp("any") / "task.yaml")
    assert load_task(path).content == content


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("version: 1", "version: 2", ":1: version: Input should be 1; found 2."),
        ("version: 1\n", "", ": version: is missing; the keys are version, environment, options, reward, "),
        (
            "sea/boat",
            "sea/baot",
            ":2: environment: There is no environment named 'sea/baot'. Did you mean sea/boat?",
        ),
        (
            "{wind: 2}",
            "{wnid: 2}",
            ":3: options: There is no option of sea/boat named 'wnid'. Did you mean wind?",
        ),
        (
            "{wind: 2}",
            "{wind: -1}",
            ":3: options: sea/boat: option wind=-1: Input should be greater than or equal",
        ),
        ("{wind: 2}", "[wind]", ":3: options: Input should be a valid dictionary; found ['wind']."),
        (
            "source: environment",
            "source: enviroment",
            ":4: reward.source: There is no reward named 'enviroment'.",
        ),
        ("source: environment", "source: environment, x: 1", ":4: reward.x: There is no key named 'x'"),
        ("source: environment", "sauce: environment", ":4: reward.source: is missing"),
        (
            "held_for: 3",
            "held_for: 0",
            ":7: success.held_for: Input should be greater than or equal to 1; found 0.",
        ),
        ("held_for: 3", "held_for: '3'", ":7: success.held_for: Input should be a valid integer; found '3'."),
        ("op: gt", "op: gtt", ":6: success.when: Input tag 'gtt'"),
        ("{signal: x}", "{signal: y}", ":6: success.when.x.signal: There is no signal of sea/boat named 'y'."),
        (
            "actor_critic",
            "actor_citric",
            ":8: head: There is no head named 'actor_citric'. Did you mean actor_critic?",
        ),
        ("steps: 5", "steps: many", ":9: episode_steps: Input should be a valid integer; found 'many'."),
        ("goal:", "gaol:", ":10: gaol: There is no key named 'gaol'. Did you mean goal?"),
        ("head: actor_critic", "goal: twice", ":10: the key 'goal' comes twice (first in line 8)."),
        ("version: 1", "version: !!python/name:os.system 1", ":1: anchors, aliases and tags are not allowed; write"),
        ("goal: Sail", "goal: &a Sail", ":10: anchors, aliases and tags are not allowed; write"),
        ("goal: Sail", "goal: [Sail", ":11: no valid YAML: "),
        ("goal: Sail", "goal: \x00", r":10: no valid YAML: the character '\x00'"),
        ("steps: 5", "steps: .inf", ":9: .inf is not a finite number."),
        ("steps: 5", "steps: 1e400", ":9: 1e400 is not a finite number."),
        (GOOD, "", ": expected keys and values, found nothing."),
        (GOOD, "- 1", ": expected keys and values, found the list [1]."),
        (GOOD, "? [a]\n: 1", ":1: a key must be a plain word."),
        (GOOD, "[" * 5000, ":1: nested deeper than 24 levels."),
    ],
)
def test_what_is_wrong_is_said_with_file_line_and_key(old: str, new: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    assert old in GOOD
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(ManyheadsError) as error:
        load_task(path)
    assert str(error.value).startswith(f"{path}{message}")


SPEC = """\
reward:
  source: spec
  spec:
    version: 1
    environment: sea/boat
    reward:
      x: {signal: x}
      to: {shape: tolerance, lower: 1.0, margin: 1.0}"""


@pytest.mark.parametrize(
    ("reward", "message"),
    [
        (SPEC.replace("signal: x", "signal: y"), ":10: reward.spec.reward.x.signal: The reward specification does not"),
        (SPEC.replace("sea/boat", "sea/ship"), ":4: reward: The reward specification does not fit sea/boat"),
        (
            'reward:\n  source: python\n  function: "math:sqrt"\n  signals: [x, y]',
            ":7: reward.signals.1: There is no signal of sea/boat named 'y'.",
        ),
        (
            'reward: {source: python, function: "nowhere:f", signals: [x]}',
            ":4: reward: The reward function nowhere:f is code of the module 'nowhere', which no installed",
        ),
    ],
)
def test_what_is_wrong_with_a_reward_source_is_said_with_file_line_and_key(
    reward: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(GOOD.replace("reward: {source: environment}", reward))
    with pytest.raises(ManyheadsError) as error:
        load_task(path).built()
    assert str(error.value).startswith(f"{path}{message}")


PLAIN = st.none() | st.text(max_size=5) | st.floats() | st.integers()
NESTED = st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner), max_leaves=8)


@settings(max_examples=50, deadline=None)
@given(text=st.text(max_size=60) | NESTED.map(yaml.safe_dump))
def test_any_other_text_is_one_clear_error(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("any") / "task.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ManyheadsError):
        load_task(path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sea/boat-rihgt", "There is no task named 'sea/boat-rihgt'. Did you mean sea/boat-right?"),
        ("nowhere.yaml", "nowhere.yaml can't be read: No such file or directory."),
    ],
)
def test_task_that_is_not_there(name: str, message: str) -> None:
    with pytest.raises(ManyheadsError) as error:
        load_task(name)
    assert str(error.value).startswith(message)


def test_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    path.write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(ManyheadsError, match="is not UTF-8 text"):
        load_task(path)


def test_packaged_file_with_a_mistake_is_reported_and_the_others_are_listed(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = folder / "sea_tasks" / "sea" / "boat-bad.yaml"
    bad.write_text("version: 1\n")
    made = Registry(entries(folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task_module, "registry", lambda: made)
        assert [task.name for task in tasks()] == ["sea/boat-right"]
    bad.unlink()
    assert f"has a task that can't be used: {bad}: environment: is missing" in caplog.text
