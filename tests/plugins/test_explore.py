"""Exploration: reward where predictors of the next latent disagree, in training without any task."""

import torch
from click.testing import CliRunner

from manyheads.cli import manyheads
from manyheads.environment.contract import REWARD
from manyheads.environment.layout import SpaceLayout
from manyheads.heads.kind import HeadContext, HeadTask
from manyheads.registry import registry
from manyheads.report import metrics
from manyheads.rewards.contract import LatentRewardSource, LatentRows
from manyheads.rewards.sources import EnvironmentReward
from manyheads.storage.world_folder import WorldFolder
from manyheads.task import load_task
from manyheads.world.model import World
from manyheads.world.sizes import WorldSettings

SIZE = WorldSettings(size="demo", deter=16, hidden=8, groups=4, classes=4, units=16)
TINY = [
    f"--set={setting}"
    for setting in (
        "world.deter=16", "world.hidden=8", "world.groups=4", "world.classes=4", "world.units=8",
        "heads.actor_critic.horizon=3", "training.batch_size=4", "training.batch_length=8", "training.num_envs=2",
        "training.train_ratio=4", "training.compile=false", "training.precision=float32",
    )
]  # fmt: skip


def source():
    kind = registry().rewards["explore/disagreement"]
    return kind.build(kind.settings(), load_task("dmc/cartpole-explore").instance)


def transitions(action, seed, noisy=False):
    """(4, 32) rows whose next latent follows from `action` (2), or from nothing at all."""
    random = torch.Generator().manual_seed(seed)
    s = SIZE
    chosen = torch.tensor(action).expand(4, 32, 2)
    classes = (chosen[..., :1] > 0).long().expand(-1, -1, s.groups)
    if noisy:
        classes = torch.randint(s.classes, (4, 32, s.groups), generator=random)
    stoch = torch.nn.functional.one_hot(classes, s.classes).float().flatten(-2)
    before = torch.randn(4, 32, s.feature_size, generator=random)
    return LatentRows(before, chosen, torch.cat([before[..., : s.deter], stoch], -1), torch.ones(4, 32).bool())


def test_reward_is_where_it_has_not_been_and_not_where_it_is_noisy():
    torch.manual_seed(0)
    ensemble = source().networks(SIZE, 2)
    optimizer = torch.optim.Adam(ensemble.parameters(), 1e-2)
    for step in range(300):
        for rows in (transitions((1.0, 0.0), step), transitions((0.0, 1.0), step, noisy=True)):
            loss, _ = ensemble.loss(rows)
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    known = ensemble(transitions((1.0, 0.0), 1000)).mean()
    noisy = ensemble(transitions((0.0, 1.0), 1000, noisy=True)).mean()
    new = ensemble(transitions((-1.0, -1.0), 1000)).mean()
    assert new > 2 * known
    assert new > 2 * noisy


def test_nothing_is_earned_where_a_row_does_not_follow_the_one_before():
    ensemble, rows = source().networks(SIZE, 2), transitions((1.0, 0.0), 0)
    rows.valid[:, 3] = False
    reward = ensemble(rows)
    assert not reward[:, 3].any()
    assert (reward[:, :3] > 0).all()


def test_it_is_a_source_over_latents():
    assert isinstance(source(), LatentRewardSource)
    assert source().reads == "latents"
    reward, terminated = source().label({"reward": torch.ones(3, 2)})
    assert not reward.any()
    assert not terminated.any()


def run(*arguments):
    result = CliRunner().invoke(manyheads, [*map(str, arguments)])
    if result.exception is not None:
        raise result.exception
    return result.output


def test_a_world_is_trained_with_no_task_and_continues(tmp_path):
    world, name = tmp_path / "world", "dmc/cartpole-explore"
    run("train", world, name, "--steps", 120, *TINY)
    before = WorldFolder.open(world).checkpoint.read(f"heads/{name.replace('/', '__')}/reward")
    assert before["weights/batches"] > 0
    run("train", world, "--steps", 160)
    after = WorldFolder.open(world).checkpoint.read(f"heads/{name.replace('/', '__')}/reward")
    assert after["weights/batches"] > before["weights/batches"]
    seen = metrics.read(world)
    assert f"{name}/disagreement" in seen or after["weights/batches"] < 50
    run("train", tmp_path / "straight", name, "--steps", 160, *TINY)
    straight = WorldFolder.open(tmp_path / "straight").checkpoint.read(f"heads/{name.replace('/', '__')}/reward")
    assert straight["optimizer/count"] == after["optimizer/count"]


def test_held_random_actions_are_held_and_are_the_task_s_own():
    kind = registry().heads["explore/held_random"].load()
    own = SpaceLayout(vector=("p",), continuous=("v",), discrete=(("m", 3),))
    interface = own.union(SpaceLayout(continuous=("u",), discrete=(("n", 2),)))
    world = World(interface, SIZE)
    task = HeadTask("task", EnvironmentReward(), (REWARD,))
    head = kind.build(HeadContext(interface, interface.mask(own), SIZE, task, kind.settings(hold=5.0)))
    generator, first = torch.Generator().manual_seed(0), torch.ones(4, dtype=torch.bool)
    state, rows = head.initial_state(4), []
    for step in range(400):
        action, state = head.act(world, world.initial(4), state, first & (step == 0), generator)
        rows.append(action)
    actions = torch.stack(rows)
    assert (actions[..., 0].abs() <= 1).all()
    assert (actions[..., 1] == 0).all()
    assert (actions[..., 2:5].sum(-1) == 1).all()
    assert (actions[..., 5:] == 0).all()
    changed = (actions[1:] != actions[:-1]).any(-1).float().mean()
    assert 0.12 < changed < 0.28
    assert not head.learns
    assert not head.losses(None, world).losses
