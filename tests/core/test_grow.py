"""A world that grows does for old rows what it did before, and learns what is new as if from the start."""

import numpy as np
import pytest
import torch
from small_agent import QUICK, acted, random_batch, small_head, small_learner, small_world

from manyheads.environment.adapter import LayoutMap
from manyheads.environment.layout import SpaceLayout
from manyheads.execution.eager import Execution
from manyheads.heads.contract import Head
from manyheads.learning.optimizer import LaProp, grown_state
from manyheads.settings import OptimizerSettings
from manyheads.world.grow import Growth, LayoutAxis, declared_axes, vector_entries
from manyheads.world.model import Latent, World

FIRST = SpaceLayout(vector=("p", "q"), continuous=("u",), discrete=(("m", 3),))
IMAGE_ONLY = SpaceLayout(image=(8, 8, 3), discrete=(("m", 3),))
GROWTH = {
    "vectors": (FIRST, SpaceLayout(vector=("r", "s"), continuous=("u",))),
    "continuous actions, before the blocks": (FIRST, SpaceLayout(vector=("p",), continuous=("v", "w"))),
    "discrete actions": (FIRST, SpaceLayout(vector=("p",), discrete=(("m", 4), ("n", 2)))),
    "first continuous action": (IMAGE_ONLY, SpaceLayout(image=(8, 8, 3), continuous=("u",))),
    "image channels": (IMAGE_ONLY, SpaceLayout(image=(8, 8, 4), discrete=(("m", 3),))),
    "images": (FIRST, SpaceLayout(image=(8, 8, 3), continuous=("u",))),
    "vectors next to images": (IMAGE_ONLY, SpaceLayout(vector=("p",), discrete=(("m", 3),))),
    "everything": (FIRST, SpaceLayout(image=(8, 8, 1), vector=("r",), continuous=("v",), discrete=(("n", 2),))),
}
VARIANTS = {
    "plain": {},
    "variants": {"vectors": "standardised", "loss_weights": "harmonised", "latent": "gaussian", "classes": 1},
}


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


def shake(module: torch.nn.Module) -> None:
    """Makes zeros something else, as training does."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
        for name, buffer in module.named_buffers():
            if name.startswith("vector_norm"):
                buffer += torch.rand_like(buffer)


def grown_world(old: World, layout: SpaceLayout) -> World:
    """The same world under a larger layout."""
    torch.manual_seed(5)
    new = World(layout, old.settings)
    new.load_state_dict(Growth.of(new, old.interface, layout).weights(old.state_dict(), new))
    return new


def fitted(batch, there: LayoutMap):
    """A batch of the smaller layout in the larger one."""
    shape = (*batch.shape, *there.interface.image) if there.interface.image else None
    image = None if shape is None else torch.zeros(shape, dtype=torch.uint8)
    if batch.image is not None:
        image = torch.from_numpy(there.map_image(batch.image.numpy()))
    return batch._replace(
        image=image,
        vector=torch.from_numpy(there.map_vector(batch.vector)),
        previous_action=torch.from_numpy(there.map_action(batch.previous_action)),
        action=torch.from_numpy(there.map_action(batch.action)),
    )


def observe(world: World, batch):
    noise = torch.rand(*batch.shape, world.settings.groups, generator=torch.Generator().manual_seed(1))
    start = Latent(batch.deter, batch.stoch)
    return world.observe(batch.image, batch.vector, batch.previous_action, batch.is_first, start, noise)


@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize(("first", "added"), GROWTH.values(), ids=GROWTH)
def test_a_grown_world_and_its_head_do_for_old_rows_what_they_did(first, added, settings):
    old = small_world(first, **settings)
    shake(old)
    head = small_head(old)
    shake(head)
    layout = first.union(added)
    new = grown_world(old, layout)
    there = LayoutMap(layout, first)
    batch = random_batch(old)[0]
    larger = fitted(batch, there)
    with torch.no_grad():
        before, after = observe(old, batch), observe(new, larger)
        close(before.latents.deter, after.latents.deter)
        close(before.latents.stoch, after.latents.stoch)
        close(before.posterior, after.posterior)
        close(before.prior, after.prior)
        latent = before.latents.map(lambda x: x[:, 0])
        noise = torch.rand(len(latent.deter), old.settings.groups)
        action = torch.randn(len(latent.deter), first.action_size)
        imagined = new.imagine_step(latent, torch.from_numpy(there.map_action(action)), noise)
        close(old.imagine_step(latent, action, noise).deter, imagined.deter)
        image, vector = old.decode(latent)
        new_image, new_vector = new.decode(latent)
        close(vector, torch.from_numpy(there.unmap_vector(new_vector)))
        if image is not None:
            assert torch.equal(image, new_image[..., : image.shape[-1]])
        grown_head = small_head(new, first)
        grown_head.load_state_dict(Growth.of(grown_head, first, layout).weights(head.state_dict(), grown_head))
        policy, same = head.actor(latent.feature), grown_head.actor(latent.feature)
        close(policy.entropy(), same.entropy())
        close(acted(head, old, latent), torch.from_numpy(there.unmap_action(acted(grown_head, new, latent))))


@pytest.mark.parametrize("kind", ["continuous actions, before the blocks", "everything"])
def test_a_grown_learner_keeps_what_it_knew_of_old_weights_and_learns(kind):
    first, added = GROWTH[kind]
    layout = first.union(added)
    old = small_world(first)
    learner = small_learner(old, {"task": small_head(old)})
    batch, labels, *masks = random_batch(old)
    for _ in range(2):
        learner.update(batch, {"task": labels}, *masks)
    new = grown_world(old, layout)
    head = small_head(new, first)
    head.load_state_dict(Growth.of(head, first, layout).weights(learner.heads["task"].state_dict(), head))
    grown = small_learner(new, {"task": head})
    grown.load_state_dict(learner.state_dict(), first)
    saved, now = learner.state_dict(), grown.state_dict()
    axes = declared_axes(new)
    for name, tensor in saved.items():
        parameter = name.split("/", 3)[-1]
        if tensor.shape == now[name].shape:
            assert torch.equal(tensor, now[name])
        else:
            axis, entries = axes.get(parameter) or declared_axes(head)[parameter]
            at = [[*entries(layout)].index(entry) for entry in entries(first)]
            assert torch.equal(tensor, now[name].index_select(axis, torch.tensor(at)))
            assert now[name].abs().sum() == pytest.approx(float(tensor.abs().sum()))
    before = {name: p.detach().clone() for name, p in new.named_parameters()}
    batch, labels, *masks = random_batch(new)
    grown.update(batch, {"task": labels}, *masks)
    assert any("born/" in name for name in now)
    for name, born in now.items():
        if name.startswith("world/optimizer/born/"):
            parameter = name.removeprefix("world/optimizer/born/")
            assert {*born.unique().tolist()} <= {0.0, 2.0}
            first_step = (new.get_parameter(parameter) - before[parameter])[born > 0].abs()
            behind_zeros = parameter.startswith("encoder.image.")  # learns once the posterior's columns are not 0
            step = torch.tensor(0.0 if behind_zeros else QUICK.lr)
            torch.testing.assert_close(first_step.max(), step, rtol=1e-3, atol=0)


class Columns(torch.nn.Module):
    """A weight with a column for each observed number."""

    def __init__(self, layout: SpaceLayout) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(2, len(layout.vector)))

    def layout_axes(self):
        return {"weight": LayoutAxis(1, vector_entries)}


def optimized(layout: SpaceLayout, settings: OptimizerSettings) -> tuple[Columns, LaProp]:
    module = Columns(layout)
    return module, LaProp(dict(module.named_parameters()), settings)


def steps(module: Columns, optimizer: LaProp, gradients: torch.Tensor) -> list[torch.Tensor]:
    """How the weight changes at each step."""
    changes = []
    for gradient in gradients:
        before = module.weight.detach().clone()
        module.weight.grad = gradient.clone()
        optimizer.step(optimizer.gradient_norms(), Execution())
        changes.append(module.weight.detach() - before)
    return changes


@pytest.mark.parametrize("warmup", [0, 4])
def test_new_columns_count_their_own_steps(warmup):
    """Without clipping, columns move as if each were alone, also after saving and growing again."""
    one, two, three = (SpaceLayout(vector=tuple(names)) for names in ("ab", "xab", "xaby"))
    two = one.union(two)
    three = two.union(three)
    settings = OptimizerSettings(lr=1e-2, agc=1e9, warmup=warmup)
    gradients = torch.randn(12, 2, 4)
    alone = [optimized(SpaceLayout(vector=("a",)), settings) for _ in range(4)]
    born = {"a": 0, "b": 0, "x": 5, "y": 9}
    expected = {
        name: steps(*pair, gradients[born[name] :, :, i : i + 1])
        for i, (name, pair) in enumerate(zip("abxy", alone, strict=True))
    }
    module, optimizer = optimized(one, settings)
    found, layout = [], one
    for larger, stop in ((one, 5), (two, 9), (three, 12)):
        state = {**optimizer.state_dict()}
        module, optimizer = optimized(larger, settings)
        optimizer.load_state_dict(grown_state(state, Growth.of(module, layout, larger), optimizer.parameters))
        layout = larger
        for gradient in gradients[len(found) : stop]:
            own = gradient[:, ["abxy".index(name) for name in larger.vector]]
            found += steps(module, optimizer, own[None])
            optimizer.load_state_dict(optimizer.state_dict())
    for step, change in enumerate(found):
        for i, name in enumerate([*"ab"] if step < 5 else [*"abx"] if step < 9 else [*"abxy"]):
            torch.testing.assert_close(change[:, i : i + 1], expected[name][step - born[name]], rtol=1e-4, atol=1e-7)


def test_a_layer_that_was_not_declared_is_left_as_it_was_saved():
    class Plain(Head):
        def __init__(self, layout: SpaceLayout) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(2, len(layout.vector)))

        def act(self, *_): ...

        def losses(self, *_): ...

    larger = SpaceLayout(vector=("a", "b"))
    head = Plain(larger)
    found = Growth.of(head, SpaceLayout(vector=("a",)), larger).weights({"weight": torch.zeros(2, 1)}, head)
    assert found["weight"].shape == (2, 1)


def test_entries_are_found_wherever_they_now_stand():
    old, new = SpaceLayout(vector=("b", "a")), SpaceLayout(vector=("a", "x", "b"))
    module = Columns(new)
    found = Growth.of(module, old, new).weights({"weight": torch.tensor([[1.0, 2.0], [3.0, 4.0]])}, module)
    assert np.array_equal(found["weight"], [[2, 0, 1], [4, 0, 3]])
