"""What the commands say of a world: short lines, long names whole, what can't be played here with the reason."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from small_worlds import TINY, command

from manyheads.cli import manyheads
from manyheads.environment import contract

LONG = "keep_the_cart_in_the_middle_of_the_rail_and_the_pole_upright"
TASK = """
version: 1
environment: gymnasium/CartPole-v1
reward: {source: environment}
success: {when: {op: lt, x: {signal: cart_position}, than: 0.0}}
episode_steps: 40
goal: Keep the cart in the middle of the rail and the pole upright, however long that takes, and be quick about it.
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world with a head of a long name, played once."""
    folder = tmp_path_factory.mktemp("w")
    (folder / f"{LONG}.yaml").write_text(TASK)
    settings = [f"--set={each}" for each in TINY]
    command("train", folder / "world", folder / f"{LONG}.yaml", "--settings", "demo", *settings, "--steps", 40)
    return folder / "world"


def test_tables_fit_a_narrow_terminal_and_keep_names_whole(world: Path) -> None:
    assert "not yet (`manyheads evaluate" in command("show", world)
    played = command("evaluate", world, "--episodes", 2).split("Returns under")[1].splitlines()
    assert LONG in played
    [heading] = [line for line in played if "simulator" in line]
    rows = [line for line in played if line.lstrip().startswith(("random", "head"))]
    assert [row.split()[0] for row in rows] == ["random", "head"]
    assert all(row.index("%") < heading.index("success") + len("success") for row in rows)
    shown = command("show", world).splitlines()
    assert LONG in shown
    assert any("mean return" in line and "success" in line for line in shown)
    assert max(map(len, [*played, *shown[1:]])) <= 80
    assert "problem" not in "".join(shown)


@pytest.mark.parametrize(("name", "few"), [("watch", ["--steps", 15]), ("why", ["--samples", 1])])
def test_the_only_head_needs_no_name(world: Path, name: str, few: list[object]) -> None:
    command(name, world, *few)
    assert [file.stem for file in (world / ("videos" if name == "watch" else "why")).iterdir()] == [LONG]


def test_a_world_that_may_only_be_read(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, mode: str = "r", *rest: Any, **named: Any) -> Any:
        if world in self.parents and {*mode} & {*"wa+"}:
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, mode, *rest, **named)

    opened = Path.open
    monkeypatch.setattr(Path, "open", refuse)
    result = CliRunner().invoke(manyheads, ["evaluate", str(world), "--episodes", "3"])
    assert "better than random by" in result.output
    assert str(result.exception).startswith(f"These results were not kept. Could not write {world}/evaluations.json: ")
    assert LONG in command("show", world)
    for arguments in (["train", str(world), "--steps", "900"], ["finetune", str(world), LONG]):
        assert "Let this user write there" in str(CliRunner().invoke(manyheads, arguments).exception)


def test_what_is_recorded_is_told(world: Path) -> None:
    facts = json.loads(command("replay", world, "--newest", 2, "--json"))
    assert facts["rows"] == 40
    assert [one["episode"] for one in facts["newest"]] == sorted(
        (one["episode"] for one in facts["newest"]), reverse=True
    )
    assert len(facts["newest"]) == 2
    [instance] = facts["instances"]
    assert instance["rows"] == 40
    assert instance["episodes"] == facts["episodes"]
    measured = {one["signal"]: one for one in instance["signals"]}
    assert measured["cart_position"]["unit"] == "m"
    assert sum(measured["cart_position"]["counts"]) == 40
    low, middle, high = measured["cart_position"]["quantiles"]
    assert measured["cart_position"]["low"] <= low <= middle <= high <= measured["cart_position"]["high"]
    newest = facts["newest"][0]
    episode = json.loads(command("replay", world, "--episode", newest["episode"], "--json"))
    assert len(episode["signals"]["cart_position"]) == newest["rows"]
    assert sum(episode["signals"]["reward"][1:]) == newest["return"]
    assert "Measured in gymnasium/CartPole-v1" in " ".join(command("replay", world).split())
    assert "cart_position" in command("replay", world, "--episode", newest["episode"])


def test_an_episode_or_a_replay_that_is_not_there_is_said(world: Path, tmp_path: Path) -> None:
    wrong = CliRunner().invoke(manyheads, ["replay", str(world), "--episode", "999"])
    assert "There is no recorded episode named '999'" in str(wrong.exception)
    bare = shutil.copytree(world, tmp_path / "bare", ignore=shutil.ignore_patterns("replay"))
    assert "has no replay" in str(CliRunner().invoke(manyheads, ["replay", str(bare)]).exception)


def test_what_is_not_installed_is_said_and_the_rest_is_shown(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract, "missing_modules", lambda names: ["pygame"])
    shown = " ".join(command("show", world).split())
    assert "problem gymnasium/CartPole-v1 needs pygame, not installed here." in shown
    assert LONG in shown
    assert "goal Keep the cart in the middle" in shown
    record = json.loads(command("show", world, "--json"))
    assert "needs pygame" in record["heads"][0]["problem"]
    assert "needs pygame" in record["instances"][0]["problem"]


def test_what_does_not_build_is_said_with_its_error(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> object:
        raise RuntimeError("no display")

    monkeypatch.setattr("manyheads.environment.measured.MeasuredEnv", broken)
    assert "gymnasium/CartPole-v1 can't be made here: RuntimeError: no display" in command("show", world)


def test_a_plugin_that_is_gone_is_said(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from manyheads.registry import registry

    monkeypatch.delitem(registry().environments, "gymnasium/CartPole-v1")
    monkeypatch.setattr(registry().environments, "_find", None)
    shown = " ".join(command("show", world).split())
    assert "There is no environment named 'gymnasium/CartPole-v1'" in shown
    assert "goal Keep the cart in the middle" in shown


def test_a_damaged_task_file_is_said_and_the_rest_is_shown(world: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(world, tmp_path / "damaged")
    file = damaged / "heads" / LONG / "task.yaml"
    file.write_text("version: [")
    assert f"{file}:2: no valid YAML" in json.loads(command("show", damaged, "--json"))["heads"][0]["problem"]
    file.unlink()
    assert (
        f"{file} is missing. Restore it from a copy"
        in json.loads(command("show", damaged, "--json"))["heads"][0]["problem"]
    )


def test_evaluations_that_make_no_sense_are_refused_before_anything_is_played(world: Path, tmp_path: Path) -> None:
    damaged = shutil.copytree(world, tmp_path / "damaged")
    (damaged / "evaluations.json").write_text('[{"task": "x"}]')
    for name in ("show", "evaluate", "report"):
        result = CliRunner().invoke(manyheads, [name, str(damaged)])
        assert "evaluations.json is damaged or was edited: 0.policy: Field required" in str(result.exception)
        assert "Returns under" not in result.output


def test_a_head_whose_folder_is_deleted_starts_afresh(world: Path, tmp_path: Path) -> None:
    changed = shutil.copytree(world, tmp_path / "changed")
    task = shutil.copy(changed / "heads" / LONG / "task.yaml", tmp_path / "other.yaml")
    command("finetune", changed, task, "--updates", 2)
    for head in ("other", LONG):
        shutil.rmtree(changed / "heads" / head)
    assert json.loads(command("show", changed, "--json"))["heads"] == []
    result = CliRunner().invoke(manyheads, ["train", str(changed)])
    assert "name the tasks to train it on from here" in str(result.exception)
    command("finetune", changed, task, "--updates", 1)
    (head,) = json.loads(command("show", changed, "--json"))["heads"]
    assert head["task"] == "other"
    assert json.loads((changed / "checkpoint.json").read_text())["state"]["runs"]["finetune/other"]["updates"] == 1


def test_asking_for_fewer_steps_than_there_are_is_said(world: Path) -> None:
    result = CliRunner().invoke(manyheads, ["train", str(world), "--steps", "10"], catch_exceptions=False)
    assert "has collected 40 steps already; --steps says how many in all." in result.output
