"""The Python face on a real simulator: train, watch, stop, act, evaluate, tidy up."""

import shutil
from collections import Counter
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
import yaml

import manyheads
from manyheads import EarlyStopping, ManyheadsError, TimeLimit, TrainingEvent

POLE, PENDULUM = "gymnasium/CartPole-v1", "gymnasium/Pendulum-v1"
TINY = (
    "world.deter=16", "world.hidden=8", "world.units=8", "training.batch_size=2", "training.batch_length=8",
    "training.num_envs=2", "training.train_ratio=2", "training.compile=false", "heads.actor_critic.horizon=2",
)  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[TrainingEvent]]:
    """A world with two heads, and the events of its first training; only to be copied."""
    path = tmp_path_factory.mktemp("api") / "world"
    events: list[TrainingEvent] = []
    world = manyheads.open_world(path, "demo", TINY)
    world.train(POLE, steps=140, callback=events.append, evaluate_every=60, evaluate_episodes=2, progress=False)
    world.train(PENDULUM, steps=200, add=True, progress=False)
    return path, events


@pytest.fixture
def world(made: tuple[Path, list[TrainingEvent]], tmp_path: Path) -> manyheads.SharedWorld:
    return manyheads.load(shutil.copytree(made[0], tmp_path / "world"))


def test_a_world_before_its_first_training(tmp_path: Path) -> None:
    world = manyheads.open_world(tmp_path / "none")
    assert (world.exists, world.steps, world.heads) == (False, 0, ())
    with pytest.raises(ManyheadsError, match="holds no world"):
        _ = world.model
    with pytest.raises(ManyheadsError, match="name at least one task"):
        world.train(steps=10)
    assert not world.path.exists()


def test_callbacks_hear_of_all_that_happens(made: tuple[Path, list[TrainingEvent]]) -> None:
    events = made[1]
    kinds = Counter(event.kind for event in events)
    assert (kinds["start"], kinds["end"], kinds["step"], kinds["evaluation"]) == (1, 1, 70, 2)
    assert events[0].kind == "start"
    assert events[-1].kind == "end"
    evaluations = [event for event in events if event.kind == "evaluation"]
    assert [event.steps for event in evaluations] == [60, 120]
    assert evaluations[0].numbers["best"] == 1.0
    assert all(event.task == POLE for event in events if event.kind == "episode")
    assert all(event.numbers["return"] == event.numbers["simulator"] > 0 for event in events if event.kind == "episode")


def test_a_callback_ends_a_run_saved(world: manyheads.SharedWorld) -> None:
    world.train(steps=400, callback=lambda event: event.steps < 240, progress=False)
    assert world.steps == 240
    world.train(steps=250, progress=False)
    assert world.steps == 250
    with pytest.raises(ManyheadsError, match="expected a function of one TrainingEvent"):
        world.train(steps=260, callback=[3], progress=False)  # type: ignore[list-item]


def test_the_best_head_is_kept_with_its_world(world: manyheads.SharedWorld) -> None:
    best, last = manyheads.load(world.path, best=True).head(POLE), world.head(POLE)
    record = world.folder.checkpoint.state["best"][POLE]
    saved = world.folder.checkpoint.read("best/gymnasium__CartPole-v1/weights")
    assert record["steps"] in (60, 120)
    assert all(np.array_equal(best.head.state_dict()[name], tensor) for name, tensor in saved.items())
    assert any(not np.array_equal(x, y) for x, y in zip(best.world.parameters(), last.world.parameters(), strict=True))
    assert manyheads.load(world.path, best=True).head(PENDULUM).world is not best.world  # never evaluated: the last


def test_agents_act_in_one_environment_and_in_many(world: manyheads.SharedWorld) -> None:
    task = manyheads.load_task(PENDULUM)
    environments = gymnasium.vector.SyncVectorEnv([task.make_environment] * 3)
    observations, infos = environments.reset(seed=1)
    agents = world.vector_head(PENDULUM, 3)
    first = agents.act(observations, infos, deterministic=True)
    assert first.shape == (3, 1)
    assert first.dtype == np.float32
    again = agents.act(observations, infos, done=[False, True, False], deterministic=True)
    assert environments.action_space.contains(again)
    one = world.head(PENDULUM)
    assert one.act(observations[0]).shape == (1,)
    with pytest.raises(ManyheadsError, match="acts in 3 environments"):
        agents.act(observations[:2])
    environments.close()


@pytest.mark.parametrize("same_step", [False, True])
def test_a_vector_agent_forgets_where_an_episode_begins(same_step: bool, world: manyheads.SharedWorld) -> None:
    """At once where environments reset in the step that ends an episode, else one call later."""
    agents = world.vector_head(PENDULUM, 2, same_step_reset=same_step)
    seen: list[list[bool]] = []
    act = agents._policy.act
    agents._policy.act = lambda *rows: seen.append(rows[2].tolist()) or act(*rows)  # type: ignore[method-assign]
    observations = np.zeros((2, 3), np.float32)
    for done in (None, [False, True], [False, False], [True, False], None):
        agents.act(observations, done=done)
    ends = [[False, True], [False, False], [True, False], [False, False]]
    assert seen == [[True, True], *(ends if same_step else [[False, False], *ends[:3]])]


def test_a_deterministic_agent_draws_no_action(world: manyheads.SharedWorld) -> None:
    observation, _ = manyheads.load_task(PENDULUM).make_environment(seed=3).reset()

    agent = world.head(PENDULUM)
    latent, first = agent.world.initial(1), torch.ones(1, dtype=torch.bool)

    def acted(seed: int) -> float:
        generator = torch.Generator().manual_seed(seed)
        return float(agent.head.act(agent.world, latent, (), first, generator)[0][0, 0])

    assert observation.shape == (3,)
    assert len({acted(seed) for seed in range(4)}) == 4
    with agent.head.deterministic():
        assert len({acted(seed) for seed in range(4)}) == 1
    assert not agent.head.greedy
    agent.act(observation, deterministic=True)
    assert not agent.head.greedy


def test_finetune_and_evaluate(world: manyheads.SharedWorld) -> None:
    task = manyheads.load_task("gymnasium/CartPole-v1-balance")
    told: list[str] = []
    agent = world.finetune(
        task, updates=4, callback=lambda event: told.append(event.kind), evaluate_every=2, progress=False
    )
    assert agent.task.name == task.name
    assert told.count("evaluation") == 2
    results = world.evaluate(task.name, episodes=2, progress=False)
    assert [result.policy for result in results] == ["random", "head"]
    assert results[1].returns.low is not None
    single = world.evaluate(task.name, episodes=1, progress=False)
    assert single[1].returns.low is None
    assert single[1].difference is not None
    assert single[1].difference.low is None
    from manyheads.storage.evaluations import read

    assert {len(each.episodes) for each in read(world.path)} == {2}  # one episode does not replace two
    with pytest.raises(ManyheadsError, match="nothing to do"):
        world.finetune("gymnasium/Pendulum-v1-swingup", updates=0, progress=False)
    assert "gymnasium/Pendulum-v1-swingup" not in world.heads
    assert not world.folder.head_folder(manyheads.load_task("gymnasium/Pendulum-v1-swingup")).exists()


def test_heads_are_copied_renamed_and_deleted(world: manyheads.SharedWorld) -> None:
    world.evaluate(POLE, episodes=1, progress=False)
    world.copy_head(POLE, "second")
    world.rename_head(PENDULUM, "swing")
    assert set(world.heads) == {POLE, "second", "swing"}
    theirs = world.head("second").head.state_dict()
    assert all(np.array_equal(theirs[name], tensor) for name, tensor in world.head(POLE).head.state_dict().items())
    world.train(steps=220, progress=False)  # continues with both, one of them under its new name
    assert world.folder.checkpoint.state["runs"]["train"]["tasks"] == [POLE, "swing"]
    assert world.folder.is_stale("second")
    world.finetune("second", updates=2, progress=False)
    world.delete_head("second")
    world.delete_head(POLE)
    assert world.heads == ("swing",)
    assert not [*world.path.rglob("*CartPole*")]
    with pytest.raises(ManyheadsError, match="Did you mean swing"):
        world.delete_head("swin")
    with pytest.raises(ManyheadsError, match="has a head 'swing' already"):
        world.copy_head("swing", "swing")
    world.train(PENDULUM, steps=240, progress=False)
    assert set(world.heads) == {"swing", PENDULUM}


def test_settings_of_the_machine_and_of_learning(
    world: manyheads.SharedWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    changed = ("training.workers=1", "optimizer.lr=1e-3", "training.num_envs=3", "heads.actor_critic.entropy_coef=0.1")
    manyheads.open_world(world.path, overrides=changed).train(steps=230)
    said = capsys.readouterr().err
    assert "continues with other settings, noted in its history:" in said
    assert "to 0.001" in said
    content = yaml.safe_load((world.path / "world.yaml").read_text())
    assert content["settings"]["training"]["workers"] == 0
    assert content["settings"]["training"]["num_envs"] == 3
    [change] = content["history"]
    assert change["steps"] == 200
    assert set(change["changes"]) == {"optimizer.lr", "training.num_envs", "heads.actor_critic.entropy_coef"}
    for refused in ("seed=3", "world.size=1m"):
        with pytest.raises(ManyheadsError, match="was made with other settings"):
            manyheads.open_world(world.path, overrides=[refused]).train(steps=300, progress=False)
    with pytest.raises(ManyheadsError, match=r"has an unexpected tensor actor\.layers"):
        manyheads.open_world(world.path, overrides=["heads.actor_critic.layers=1"]).train(steps=300, progress=False)
    assert len(yaml.safe_load((world.path / "world.yaml").read_text())["history"]) == 1


def test_early_stopping_and_a_limit_of_time() -> None:
    def evaluation(found: float, task: str = "a") -> TrainingEvent:
        return TrainingEvent("evaluation", 1, 1, task, {"return": found})

    stop = EarlyStopping(patience=2)
    assert [stop(evaluation(x)) for x in (1, 2, 2, 1)] == [True, True, True, False]
    both = EarlyStopping(patience=1)
    assert [both(each) for each in (evaluation(1), evaluation(1, "b"), evaluation(1), evaluation(2, "b"))] == [True] * 4
    assert both(evaluation(0)) is True  # the other task got better last time
    assert both(evaluation(0, "b")) is False
    reached = EarlyStopping("a", target=10)
    assert [reached(each) for each in (evaluation(99, "b"), evaluation(9), evaluation(10))] == [True, True, False]
    with pytest.raises(ValueError, match="patience=0"):
        EarlyStopping(patience=0)
    now = iter([0.0, 0.0, 59.0, 61.0])
    limit = TimeLimit(1, clock=lambda: next(now))
    assert [limit(TrainingEvent(kind, 0, 0)) for kind in ("start", "step", "step")] == [True, True, False]
