"""Several heads in one call on a real simulator: as each alone; forgetting is told and mended; gaps are explained."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from manyheads import load
from manyheads.cli import manyheads
from manyheads.report.why import Gap, explain
from manyheads.report.why_page import ADVICE, AGREES, advice
from manyheads.storage import ledger
from manyheads.storage.ledger import Score
from manyheads.storage.world_folder import WorldFolder

TINY = [
    f"--set={setting}"
    for setting in (
        "world.deter=16", "world.hidden=8", "world.groups=4", "world.classes=4", "world.units=8",
        "heads.actor_critic.horizon=3", "training.batch_size=4", "training.batch_length=8", "training.num_envs=2",
        "training.train_ratio=4", "training.compile=false", "training.precision=float32", "optimizer.warmup=0",
    )
]  # fmt: skip
OLD, ONE, OTHER, THIRD = (
    f"dmc/cartpole-{goal}" for goal in ("upright", "park_left", "park_right", "left_then_upright")
)


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(manyheads, [str(argument) for argument in arguments])
    if code == 0 and result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output if code == 0 else str(result.exception)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "world"
    run("train", folder, OLD, "--steps", 120, *TINY)
    return folder


@pytest.fixture
def world(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "world"))


def weights(world: Path, task: str) -> dict[str, torch.Tensor]:
    folder = WorldFolder.open(world)
    return folder.checkpoint.read(f"heads/{folder.task(task).slug}/weights")


def test_heads_that_are_fine_tuned_together_are_those_of_each_alone(world: Path, tmp_path: Path) -> None:
    """Three as a stack, one that remembers rows as well; a run of all resumes where it stopped, and one alone, too."""
    names = (ONE, OTHER, OLD, THIRD)
    alone = {name: Path(shutil.copytree(world, tmp_path / f"alone{i}")) for i, name in enumerate(names)}
    run("finetune", world, *names, "--updates", 2, "--no-check")
    run("finetune", world, *names, "--updates", 4, "--no-check")
    run("finetune", world, OTHER, "--updates", 5, "--no-check")
    for name, folder in alone.items():
        run("finetune", folder, name, "--updates", 5 if name == OTHER else 4, "--no-check")
        expected, found = weights(folder, name), weights(world, name)
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            torch.testing.assert_close(found[key], value, rtol=1e-3, atol=4e-4, msg=f"{name} {key}")
    runs = WorldFolder.open(world).checkpoint.state["runs"]
    assert [runs[f"finetune/{name.replace('/', '__')}"]["updates"] for name in names] == [4, 5, 4, 4]


def test_what_is_known_before_and_after_is_said(world: Path) -> None:
    said = run("finetune", world, ONE, "--updates", 2, "--start", OLD, "--json")
    found = json.loads(said[said.rindex("\n{\n") :])
    assert found[ONE]["start"] == OLD
    assert 0 <= found[ONE]["recorded"]["earning"] <= found[ONE]["recorded"]["rows"]
    assert found[ONE]["predicted"]["low"] <= found[ONE]["predicted"]["mean"] <= found[ONE]["predicted"]["high"]
    assert {*found[ONE]} >= {"real", "random"}
    assert [score.task for score in ledger.read(world)] == [ONE]


def test_the_advisor_ranks_every_head_that_acts_in_the_same_way(world: Path) -> None:
    said = run("finetune", world, ONE, "--updates", 1, "--start", "auto", "--no-check")
    assert f"Imagined return under the reward of {ONE}" in said
    assert f"  {OLD}" in said
    assert "  fresh" in said
    again = run("finetune", world, ONE, "--updates", 2, "--start", "auto", "--no-check")
    assert "resumes from where it was" in again


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((ONE, "--start", "nonsense"), "to begin as named 'nonsense'"),
        ((ONE, ONE), "a task is named twice"),
        ((THIRD, "--start", OLD), "they differ in kind, environment or size"),
    ],
)
def test_mistakes_are_named(world: Path, arguments: tuple[str, ...], message: str) -> None:
    assert message in run("finetune", world, *arguments, "--updates", 1, "--no-check", code=1)


def test_exploring_first_collects_with_a_head_of_its_own(world: Path) -> None:
    before = WorldFolder.open(world).replay(read_only=True).rows
    run("finetune", world, ONE, "--updates", 1, "--explore", 40, "--no-check")
    folder = WorldFolder.open(world)
    assert folder.replay(read_only=True).rows == before + 40
    assert "dmc/cartpole.explore" in folder.heads


def test_a_drop_after_further_training_is_told_and_mended(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record of what the head can't reach is a drop; --keep-heads trains it, and says that it is not back."""
    from manyheads.api import keeping

    monkeypatch.setattr(keeping, "UPDATES", 2)
    monkeypatch.setattr(keeping, "ROUNDS", 2)
    score = Score(OLD, world_updates=1, saved=1, returns=[249.0, 248.0, 249.5, 249.0, 248.5])
    (world / ledger.FILE).write_text(json.dumps([score.__dict__]))
    said = run("train", world, ONE, "--steps", 140, "--yes")
    assert f"{OLD} earned 248.8 when the world model had 1 updates" in said
    assert f"`manyheads finetune {world} {OLD}`" in said
    before = weights(world, OLD)
    said = run("train", world, ONE, "--steps", 160, "--yes", "--keep-heads")
    assert f"{OLD} is not back after 4 updates in imagination" in said
    assert any(not value.equal(before[key]) for key, value in weights(world, OLD).items())
    assert len([each for each in ledger.read(world) if each.task == OLD]) >= 3


def test_the_parts_of_a_gap_add_up_to_it(world: Path) -> None:
    agent = load(world).head(OLD)
    gap = explain(agent.world, agent.head, agent.task, seed=10_000_000, samples=2)
    assert gap.steps == agent.task.episode_steps
    assert sum(gap.parts.values()) == pytest.approx(gap.gap)
    assert {len(rewards) for rewards in gap.rewards.values()} == {gap.steps}
    assert gap.real == pytest.approx(sum(gap.rewards["real"]))
    said = run("why", world, OLD, "--samples", 1, "--json")
    record = json.loads(said[said.index("{") :])
    assert record["gap"] == pytest.approx(record["predicted"] - record["real"])
    assert "<svg" in (world / "why" / "dmc__cartpole-upright.html").read_text()


@pytest.mark.parametrize(
    ("reward", "model", "policy", "said"),
    [
        (3.0, -2.0, 4.0, AGREES),
        (3.0, -60.0, 4.0, ADVICE["model"]),
        (30.0, -2.0, 4.0, ADVICE["reward"]),
        (0.0, 9.0, -12.0, ADVICE["policy"]),
        (0.0, 0.0, 0.0, AGREES),
    ],
)
def test_only_an_error_that_matters_is_advised_on(reward: float, model: float, policy: float, said: str) -> None:
    gap = Gap("task", 0, 250, 100, 100 + reward + model + policy, reward, model, policy, {})
    assert advice(gap) == said
    assert gap.record()["agrees"] == (said == AGREES)
