"""Readouts learn what is measured from the latent, from their own rows alone, and leave everything else as it is."""

import torch
from small_agent import BOTH, QUICK, random_batch, small_head, small_learner, small_world

from manyheads.experience.stream import RecordedInstance
from manyheads.learning.readouts import ReadoutLearner, signal_rows
from manyheads.world.model import Latent
from manyheads.world.readout import Readout, SignalRows

SIGNALS = {"height": "continuous", "angle": "angle"}


def made_latents(world, *shape, seed=0):
    random = torch.Generator().manual_seed(seed)
    settings = world.settings
    deter = torch.rand(*shape, settings.deter, generator=random) * 2 - 1
    classes = torch.randint(settings.classes, (*shape, settings.groups), generator=random)
    return Latent(deter, torch.nn.functional.one_hot(classes, settings.classes).float())


def measured(latents):
    """A height of hundreds of metres and an angle all the way round, both functions of the state."""
    deter = latents.deter
    return torch.stack([300 + 50 * deter[..., 0], torch.atan2(deter[..., 1], deter[..., 2])], -1)


def world_with_readout():
    world = small_world()
    world.readouts["body"] = Readout(world.settings, SIGNALS)
    return world


def test_learns_signals_in_their_units_and_angles_all_the_way_round():
    world = world_with_readout()
    learner = ReadoutLearner(world, QUICK)
    never = torch.zeros(16, 32, dtype=torch.bool)
    for step in range(400):
        latents = made_latents(world, 16, 32, seed=step)
        learner.update(latents, {"body": SignalRows(measured(latents), torch.ones(16))}, never)
    latents = made_latents(world, 256, seed=-1)
    signals, continues = world.readout(latents, "body")
    height, angle = measured(latents).unbind(-1)
    assert (signals["height"] - height).abs().mean() < 5, "a tenth of its deviation"
    turn = torch.atan2((signals["angle"] - angle).sin(), (signals["angle"] - angle).cos())
    assert turn.abs().median() < 0.2
    assert continues.min() > 0.9
    assert (world.readouts["body"].error < 0.2).all()


def test_rows_of_another_environment_train_nothing():
    results = []
    for others in (0.0, 1e3):
        torch.manual_seed(0)
        world = world_with_readout()
        latents = made_latents(world, 4, 6)
        values, mask = measured(latents), torch.tensor([1.0, 1, 0, 0])
        values[2:] += others
        ends = torch.zeros(4, 6, dtype=torch.bool)
        ends[2:] = bool(others)
        ReadoutLearner(world, QUICK).update(latents, {"body": SignalRows(values, mask)}, ends)
        results.append({name: x.clone() for name, x in world.readouts["body"].state_dict().items()})
    assert all(x.equal(results[1][name]) for name, x in results[0].items())


def test_rows_are_found_by_the_names_recorded():
    world = world_with_readout()
    batch, *_ = random_batch(world, sequences=3, rows=4)
    batch = batch._replace(signals=torch.randn(3, 4, 3), instance=torch.tensor([0, 1, 2]))
    kinds = {"key": "k", "layout": BOTH}
    instances = [
        RecordedInstance(dynamics_key="body", signals=("reward", "angle", "height"), **kinds),
        RecordedInstance(dynamics_key="other", signals=("reward", "height", "angle"), **kinds),
        RecordedInstance(dynamics_key="body", signals=("reward", "height"), **kinds),
    ]
    rows = signal_rows(batch, instances, world.readouts)["body"]
    assert rows.mask.tolist() == [1, 0, 0], "another body, and one that lacked a signal, are left out"
    assert rows.values[0].equal(batch.signals[0][:, [2, 1]])


def test_the_world_and_its_heads_learn_as_without_it():
    def trained(with_readout):
        world = world_with_readout() if with_readout else small_world()
        head = small_head(world)
        learner = small_learner(world, {"task": head})
        readouts = ReadoutLearner(world, QUICK)
        for seed in range(3):
            batch, labels, *masks = random_batch(world, seed=seed)
            update = learner.update(batch, {"task": labels}, *masks)
            if with_readout:
                rows = SignalRows(torch.randn(*batch.shape, 2), torch.ones(batch.shape[0]))
                readouts.update(update.latents, {"body": rows}, batch.is_terminal)
        return {**world.state_dict(), **head.state_dict(), **learner.state_dict()}

    plain, with_readout = trained(False), trained(True)
    assert plain.keys() == with_readout.keys()
    assert all(x.equal(with_readout[name]) for name, x in plain.items())
