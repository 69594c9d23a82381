"""Every hook is documented in docs/plugins.md, and the page's own plugin works."""

import inspect
import json
import os
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import manyheads
from helpers import package, run
from manyheads import hookspecs
from manyheads.cli import manyheads as command_line
from manyheads.environment.adapter import FlatEnv
from manyheads.environment.contract import REWARD
from manyheads.environment.layout import SpaceLayout
from manyheads.heads.kind import HeadContext, HeadTask
from manyheads.models import LanguageModel
from manyheads.registry import Registry, registry
from manyheads.rewards.contract import RewardSource
from manyheads.rewards.sources import EnvironmentReward
from manyheads.testing import check_environment, check_head
from manyheads.world.model import World
from manyheads.world.sizes import WorldSettings

PAGE = (Path(__file__).parent.parent / "docs" / "plugins.md").read_text(encoding="utf-8")
HOOKS = [name for name, _ in inspect.getmembers(hookspecs, inspect.isfunction) if name.startswith("register_")]


def files() -> dict[str, str]:
    """The page's blocks, joined by the file that their first line names."""
    found: dict[str, list[str]] = defaultdict(list)
    for file, text in re.findall(r"^```(?:python|yaml)\n# (\S+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        found[file].append(text)
    [suite] = re.findall(r"^```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    [path] = re.findall(r"The block above lies in `(\S+)`", PAGE)
    return {path: suite, **{file: "\n".join(texts) for file, texts in found.items()}}


@pytest.fixture(scope="module")
def sailing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page's package and its metadata."""
    return package(tmp_path_factory.mktemp("sailing"), "sailing", files())


@pytest.fixture
def registered(sailing: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """The registry of this Python with the page's package installed."""
    monkeypatch.syspath_prepend(str(sailing))
    registry.cache_clear()
    yield registry()
    registry.cache_clear()


@pytest.mark.parametrize("hook", HOOKS)
def test_hook_is_documented_and_its_example_is_registered(hook: str, registered: Registry) -> None:
    assert f"## `{hook}`" in PAGE
    assert f"def {hook}(" in files()["manyheads_sailing/__init__.py"]
    table = getattr(registered, hook.removeprefix("register_"))
    assert [name for name, owner in table.owners.items() if owner == "sailing"]
    assert not registered.plugins["sailing"].problems


def test_the_page_has_every_hook_and_no_other() -> None:
    assert set(re.findall(r"^## `(\w+)`", PAGE, re.MULTILINE)) == {*HOOKS, "write_goal"}


def test_every_python_block_of_the_page_names_its_file() -> None:
    assert PAGE.count("```python") == len(re.findall(r"^```python\n# \S+\.py$", PAGE, re.MULTILINE))


def test_environment_of_the_page(registered: Registry) -> None:
    check_environment(registered.environments["sailing/boat"].instance())
    env = manyheads.make("sailing/boat", wind=1)
    _, info = env.reset(seed=0)
    *_, after = env.step(1)
    assert after["signals"]["north"] == pytest.approx(info["signals"]["north"] + 0.1)
    with pytest.raises(manyheads.ManyheadsError, match="option wind=2"):
        manyheads.make("sailing/boat", wind=2)


def test_environment_with_a_picture_and_numbers(registered: Registry) -> None:
    instance = registered.environments["sailing/lookout"].instance()
    check_environment(instance)
    layout = FlatEnv(instance.make(), instance.signals).layout
    assert (layout.image, layout.vector) == ((32, 32, 3), ("sailing/lookout log[0]", "sailing/lookout log[1]"))


def test_session_of_the_page(
    registered: Registry, sailing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text((sailing / "mine.yaml").read_text())
    for command in re.findall(r"^\$ manyheads (.*)$", PAGE, re.MULTILINE):
        less = (
            "--set training.train_ratio=1 --set training.batch_size=2 --set training.num_envs=2"
            if "demo" in command or "reproduce" in command
            else ""
        )
        command = re.sub(r"--steps (\d+)", lambda steps: f"--steps {150 + int(steps[1]) // 10}", command)
        result = CliRunner().invoke(command_line, [*command.split(), *less.split()])
        assert result.exit_code == 0, f"{command}\n{result.output}"
    assert manyheads.load("harbour").folder.settings.heads == {"sailing/helmsman": {"units": 16}}
    assert "Ada sails 1 tasks to 230 steps" in Path("harbour/logbook.txt").read_text()
    numbers = json.loads(Path("harbour/metrics.jsonl").read_text().splitlines()[-1])["numbers"]
    flag = Path("harbour/flags.txt").read_text().split()
    assert flag[2:] == ["sailing/boat-north/reward", str(numbers["sailing/boat-north/reward"])]
    [run] = Path("reproduce/sailing/regatta").iterdir()
    assert manyheads.load(run).folder.instances[0].options == {"wind": 1.0}
    assert (run / "curve.svg").exists()
    head = manyheads.load("bay").head("sailing/lookout-east")
    assert head.act({"bay": np.zeros((32, 32, 3), np.uint8), "log": np.zeros(2)}).shape == (1,)


def test_task_and_reward_of_the_page(registered: Registry) -> None:
    task = manyheads.load_task("sailing/boat-north")
    assert isinstance(task.reward, RewardSource)
    reward, terminated = task.reward.label({"north": np.array([9.0, 2.5, -1.0, 7.0])})
    assert reward.tolist() == [0, 0.5, 0, 1]
    assert terminated.tolist() == [False, False, False, True]


def test_head_of_the_page(registered: Registry) -> None:
    interface = SpaceLayout(vector=("a", "b"), continuous=("push",), discrete=(("rudder", 2), ("sail", 3)))
    world = World(interface, WorldSettings(size="demo"))
    kind = registered.heads["sailing/helmsman"].load()
    check_head(kind)
    mask = interface.mask(SpaceLayout(vector=("a",), discrete=(("rudder", 2),)))
    task = HeadTask("sailing/far-shore", EnvironmentReward(), (REWARD,))
    head = kind.build(HeadContext(interface, mask, world.settings, task, kind.settings()))
    action, _ = head.act(world, world.initial(5), head.initial_state(5), torch.ones(5, dtype=torch.bool))
    assert action.shape == (5, 6)
    assert action[:, 1:3].sum(-1).tolist() == [1] * 5
    assert not action[:, [0, 3, 4, 5]].any()


def test_model_of_the_page(registered: Registry) -> None:
    model = registered.models["sailing/parrot"].factory()
    assert isinstance(model, LanguageModel)
    assert np.linalg.norm(model.embed(["a", "b"]), axis=1).tolist() == [1, 1]


def test_command_of_the_page(registered: Registry) -> None:
    assert "greet a boat" in CliRunner().invoke(command_line, ["--help"]).stdout
    assert CliRunner().invoke(command_line, ["harbour", "Ada"]).stdout == "Welcome to the harbour, Ada.\n"


def test_authors_tests_of_the_page_pass(sailing: Path) -> None:
    variables = {**os.environ, "PYTHONPATH": str(sailing)}
    result = run(
        sys.executable, "-m", "pytest", sailing / "tests", "-p", "no:cacheprovider", cwd=sailing, env=variables
    )
    assert "3 passed" in result.stdout, result.stdout
