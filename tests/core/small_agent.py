"""A world, a head and batches small enough for tests."""

from contextlib import contextmanager

import torch

from manyheads.environment.places import Places
from manyheads.experience.batch import Batch
from manyheads.heads.actor_critic import ActorCritic, HeadSettings
from manyheads.learning.learner import HeadLabels, Learner
from manyheads.learning.optimizer import OptimizerSettings
from manyheads.world.execution import Compiled
from manyheads.world.model import World
from manyheads.world.sizes import WorldSettings

SIZES = {"deter": 16, "hidden": 8, "groups": 4, "classes": 4, "depth": 4, "units": 16, "mults": (2, 2)}
QUICK = OptimizerSettings(rate=1e-2, warmup=0)
BOTH = Places(image=(8, 8, 3), vector=("p", "q"), continuous=("u", "v"), discrete=(("m", 3), ("n", 2)))
VECTOR = Places(vector=("p", "q"), continuous=("u", "v"))


class Uncompiled(Compiled):
    """The fast path's way of computing, without a compiler."""

    def region(self, function):
        return function

    def objective(self, function):
        return self.region(function)

    @contextmanager
    def steady(self, *kind):
        with super().steady(*kind):
            yield False  # there is nothing to rehearse


class TracedOnly(Compiled):
    """The fast path, its graphs run by torch's own operations; `traced` notes the name of each function that is."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.traced = []

    def _compile(self, traced):
        self.traced.append(traced.name)
        return traced.forth, traced.back


def small_world(places=BOTH, **settings):
    torch.manual_seed(0)
    return World(places, WorldSettings(**(SIZES | settings)))


def small_head(world, instance=None, **settings):
    torch.manual_seed(1)
    interface = world.interface
    return ActorCritic(
        interface, interface.mask(instance or interface), world, HeadSettings(**({"horizon": 3} | settings))
    )


def small_learner(world, heads, **arguments):
    return Learner(world, heads, **({"settings": QUICK, "seed": 3} | arguments))


def random_batch(world, sequences=4, rows=6, seed=0):
    """A batch, the labels of one task that owns all of it, and masks that leave nothing out."""
    random = torch.Generator().manual_seed(seed)
    places, shape = world.interface, (sequences, rows)
    image = None
    if places.image:
        image = torch.randint(256, (*shape, *places.image), generator=random, dtype=torch.uint8)
    start = world.initial(sequences)
    batch = Batch(
        image=image,
        vector=torch.randn(*shape, len(places.vector), generator=random),
        previous_action=torch.randn(*shape, places.action_size, generator=random),
        signals=torch.zeros(*shape, 0),
        first=torch.rand(shape, generator=random) < 0.2,
        last=torch.rand(shape, generator=random) < 0.2,
        terminal=torch.rand(shape, generator=random) < 0.1,
        instance=torch.zeros(sequences, dtype=torch.int64),
        deter=start.deter,
        stoch=start.stoch,
    )
    labels = HeadLabels(torch.randn(shape, generator=random), batch.terminal, torch.ones(shape, dtype=torch.bool))
    return batch, labels, torch.ones(sequences, len(places.vector)), torch.ones(sequences)
