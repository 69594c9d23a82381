"""The planner acts at once on a goal, by the world's own imagination."""

import pytest
import torch
from click.testing import CliRunner
from small_agent import small_world

from manyheads import ManyheadsError
from manyheads.cli import manyheads
from manyheads.environment.contract import REWARD, Signal
from manyheads.environment.layout import SpaceLayout
from manyheads.heads.kind import HeadContext, HeadTask
from manyheads.heads.planner import Planner, PlannerSettings
from manyheads.learning import fresh_readouts
from manyheads.rewards.sources import EnvironmentReward, PythonReward, SignalSource
from manyheads.storage.readouts import READOUTS
from manyheads.storage.world_folder import WorldFolder
from manyheads.world.model import Latent
from manyheads.world.readout import ReadoutPrediction

PLACES = SpaceLayout(vector=("p",), continuous=("u", "v"), discrete=(("m", 3),))
TARGET = (0.5, -0.25)


class Pushed:
    """A world whose state is what was done last, so that the best plan is known."""

    def __init__(self, world):
        self.real, self.settings, self.execution, self.ends = world, world.settings, world.execution, 0.0

    def draw_noise(self, *shape, generator=None):
        return self.real.draw_noise(*shape, generator=generator)

    def imagine_step(self, latent, action, noise):
        return Latent(torch.nn.functional.pad(action, (0, latent.deter.shape[-1] - action.shape[-1])), latent.stoch)

    def readout(self, latent, dynamics_key):
        assert dynamics_key == "body"
        u, v, first, second, third = latent.deter[..., :5].unbind(-1)
        signals = {"u": u, "v": v, "choice": second + 2 * third}
        return ReadoutPrediction(signals, 1 - self.ends * first)


def paid(signals):
    """Most near one pair of actions, and for the last choice."""
    off = (signals["u"] - TARGET[0]).abs() + (signals["v"] - TARGET[1]).abs()
    return signals["choice"] - off


def planner(world, source=None, instance=PLACES, **settings):
    source = source or PythonReward(paid, ["u", "v", "choice"], "paid")
    task = HeadTask("task", source, (REWARD, Signal("u"), Signal("v"), Signal("choice")), dynamics_key="body")
    context = HeadContext(PLACES, PLACES.mask(instance), world.settings, task, PlannerSettings(**settings))
    return Planner(context)


def acted(head, world, steps=1, n=3, seed=0):
    generator, state = torch.Generator().manual_seed(seed), head.initial_state(n)
    latent = world.real.initial(n)
    for step in range(steps):
        is_first = torch.full((n,), step == 0)
        action, state = head.act(world, latent, state, is_first, generator)
    return action, state


@pytest.fixture
def world():
    return Pushed(small_world(PLACES))


def test_finds_the_best_actions_of_both_kinds(world):
    action, _ = acted(planner(world, horizon=3, samples=128, elites=16, iterations=6), world, steps=3)
    assert (action[:, :2] - torch.tensor(TARGET)).abs().max() < 0.15
    assert action[:, 2:].tolist() == [[0, 0, 1]] * 3


def test_the_plan_is_kept_shifted_and_dropped_where_an_episode_starts(world):
    head = planner(world, horizon=4, samples=64)
    _, state = acted(head, world)
    plan, initial = state[0], head.initial_state(3)[0]
    assert plan[:, -1].equal(initial[:, -1]), "a new last step"
    assert not plan[:, 0].equal(initial[:, 0])
    latent, again = world.real.initial(3), torch.ones(3, dtype=torch.bool)
    fresh = head.act(world, latent, head.initial_state(3), again, torch.Generator().manual_seed(1))
    after = head.act(world, latent, state, again, torch.Generator().manual_seed(1))
    assert fresh[0].equal(after[0])
    assert fresh[1][0].equal(after[1][0])


def test_what_comes_after_an_end_counts_nothing(world):
    """The first choice ends the episode, in which the last one would pay in every step."""
    head = planner(world, PythonReward(lambda s: (s["choice"] == 0) * 1.5 + (s["choice"] == 2) * 1.0, ["choice"], "r"))
    world.ends = 0.0
    assert acted(head, world)[0][:, 2:].argmax(-1).tolist() == [0] * 3
    world.ends = 1.0
    assert acted(head, world)[0][:, 2:].argmax(-1).tolist() == [2] * 3


def test_the_tasks_own_end_counts_too(world):
    def ending(signals):
        return torch.where(signals["choice"] == 0, 1.5, 0.0) + (signals["choice"] == 2) * 1.0, signals["choice"] == 0

    head = planner(world, PythonReward(ending, ["choice"], "ending"))
    assert acted(head, world)[0][:, 2:].argmax(-1).tolist() == [2] * 3


class Remembering(SignalSource):
    """Pays for the choice after the one made last: 0, 1, 2, 0, ..."""

    memory_size = 1

    def advance(self, signals, memory, is_first):
        wanted = (memory[:, 0] + 1) % 3
        choice = torch.where(is_first, 0, signals["choice"])
        return (choice == wanted).float(), None, choice[:, None].float()


def test_a_source_that_remembers_is_carried_on_from_what_was_measured(world):
    head = planner(world, Remembering({"choice"}), horizon=2, samples=128, elites=16)
    assert head.needs_signals
    latent, state, never = world.real.initial(2), head.initial_state(2), torch.zeros(2, dtype=torch.bool)
    measured = torch.tensor([[0, 0, 0, 1.0], [0, 0, 0, 2]])
    action, state = head.act(world, latent, state, never, torch.Generator().manual_seed(0), measured)
    assert action[:, 2:].argmax(-1).tolist() == [2, 0], "the choice after the one measured"
    assert state[1].flatten().tolist() == [1, 2]


def test_actions_that_the_instance_lacks_stay_zero(world):
    head = planner(
        world, PythonReward(lambda s: s["u"], ["u"], "u"), SpaceLayout(vector=("p",), continuous=("u",)), horizon=3
    )
    action, _ = acted(head, world)
    assert not action[:, 1:].any()
    assert (action[:, 0] > 0.5).all()


def test_the_simulators_reward_is_refused_with_the_way_out(world):
    with pytest.raises(ManyheadsError, match=r"that of task is not a function of them.*specification"):
        planner(world, EnvironmentReward())


def test_more_elites_than_samples_are_refused():
    with pytest.raises(ValueError, match="elites=9 are chosen from samples=8"):
        PlannerSettings(samples=8, elites=9)


def run(*arguments):
    result = CliRunner().invoke(manyheads, [*map(str, arguments)])
    if result.exception is not None:
        raise result.exception
    return result.output


TINY = [
    f"--set={setting}"
    for setting in (
        "world.deter=16", "world.hidden=8", "world.groups=4", "world.classes=4", "world.units=8",
        "heads.planner={horizon: 2, samples: 8, elites: 4, iterations: 1}", "heads.actor_critic.horizon=3",
        "training.batch_size=4", "training.batch_length=8", "training.num_envs=2", "training.train_ratio=4",
        "training.compile=false", "training.precision=float32",
    )
]  # fmt: skip


@pytest.mark.parametrize("earlier", [False, True])
def test_from_a_trained_world_to_a_played_plan(tmp_path, monkeypatch, earlier):
    """Also where a world of an earlier version has no readouts: they are fitted to stored latents first."""
    world, name = tmp_path / "world", "dmc/cartpole-park_left"
    run("train", world, "dmc/cartpole-upright", "--steps", 100, *TINY)
    assert "signals of dmc/cartpole" in run("show", world)
    if earlier:
        checkpoint = WorldFolder.open(world).checkpoint
        checkpoint.forget(READOUTS)
        checkpoint.write({}, {key: value for key, value in checkpoint.state.items() if key != READOUTS})
        assert "signals of dmc/cartpole" not in run("show", world)
    monkeypatch.setattr(fresh_readouts, "FIT_UPDATES", 20)
    said = run("finetune", world, name, "--head", "planner")
    assert f"{name}.planner has nothing to train" in said
    assert READOUTS in WorldFolder.open(world).checkpoint.names
    assert f"{name}.planner" in run("evaluate", world, f"{name}.planner", "--episodes", 1)
    with pytest.raises(ManyheadsError, match="The planner computes a task's reward"):
        run("finetune", world, "dmc/cartpole-upright", "--head", "planner")
    with pytest.raises(ManyheadsError, match="Did you mean"):
        run("finetune", world, name, "--head", "planer")
