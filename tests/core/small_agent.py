"""A world, a head and batches small enough for tests."""

import torch

from manyheads.environment.contract import REWARD
from manyheads.environment.layout import SpaceLayout
from manyheads.execution.compiled import CompiledExecution
from manyheads.execution.inductor.execution import InductorExecution
from manyheads.experience.batch import Batch
from manyheads.fused import REPLACEMENTS
from manyheads.heads.actor_critic import ActorCritic, ActorCriticSettings
from manyheads.heads.contract import HeadBatch, evaluate_loss
from manyheads.heads.kind import HeadContext, HeadTask
from manyheads.learning.learner import HeadLabels, Learner
from manyheads.rewards.sources import EnvironmentReward
from manyheads.settings import OptimizerSettings
from manyheads.world.model import World
from manyheads.world.sizes import WorldSettings

SIZES = {"deter": 16, "hidden": 8, "groups": 4, "classes": 4, "depth": 4, "units": 16, "mults": (2, 2)}
QUICK = OptimizerSettings(lr=1e-2, warmup=0)
BOTH = SpaceLayout(image=(8, 8, 3), vector=("p", "q"), continuous=("u", "v"), discrete=(("m", 3), ("n", 2)))
VECTOR = SpaceLayout(vector=("p", "q"), continuous=("u", "v"))


class Uncompiled(CompiledExecution):
    """The faster forms of functions, without a compiler."""

    def __init__(self, compute_dtype=torch.float32):
        super().__init__(compute_dtype, REPLACEMENTS)

    def compile(self, function):
        return function


class TracedOnly(InductorExecution):
    """Compiled functions whose graphs are run by torch's own operations; `traced` has the name of each."""

    def __init__(self, compute_dtype=torch.float32):
        super().__init__(compute_dtype, REPLACEMENTS)
        self.traced = []

    def _generate_code(self, traced):
        self.traced.append(traced.name)
        return traced.forward, traced.backward


def small_world(places=BOTH, **settings):
    torch.manual_seed(0)
    return World(places, WorldSettings(**(SIZES | settings)))


def small_head(world, instance=None, **settings):
    torch.manual_seed(1)
    return ActorCritic(head_context(world, ActorCriticSettings(**({"horizon": 3} | settings)), instance))


def head_context(world, settings, instance=None, name="task"):
    """For a head on a task that is paid the simulator's reward; `instance` is its environment's layout."""
    interface, task = world.interface, HeadTask(name, EnvironmentReward(), (REWARD,))
    return HeadContext(interface, interface.mask(instance or interface), world.settings, task, settings)


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
        action=torch.zeros(*shape, places.action_size),
        signals=torch.zeros(*shape, 0),
        is_first=torch.rand(shape, generator=random) < 0.2,
        is_last=torch.rand(shape, generator=random) < 0.2,
        is_terminal=torch.rand(shape, generator=random) < 0.1,
        reset_state=torch.zeros(shape, dtype=torch.bool),
        instance=torch.zeros(sequences, dtype=torch.int64),
        deter=start.deter,
        stoch=start.stoch,
    )
    labels = HeadLabels(torch.randn(shape, generator=random), batch.is_terminal, torch.ones(shape, dtype=torch.bool))
    return batch, labels, torch.ones(sequences, len(places.vector)), torch.ones(sequences)


def rows_of_head(latents, batch, labels):
    """What one head learns from."""
    return HeadBatch(
        latents,
        batch.action,
        labels.reward,
        batch.is_first,
        batch.is_last,
        labels.is_terminal,
        labels.mask,
    )


def found_losses(head, batch, world, seed=0):
    """A head's losses by name, evaluated."""
    found = head.losses(batch, world, torch.Generator().manual_seed(seed))
    return {name: evaluate_loss(loss)[0] for name, loss in found.losses.items()}


def acted(head, world, latent, seed=0):
    """Actions of a head in a first step."""
    n, generator = len(latent.deter), torch.Generator().manual_seed(seed)
    return head.act(world, latent, head.initial_state(n), torch.ones(n, dtype=torch.bool), generator)[0]
