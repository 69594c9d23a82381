"""A real episode of a head, and the same stretch of time imagined by the world model alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from manyheads.environment.adapter import FlatEnv, LayoutMap
from manyheads.report.drawing import Floats, Pixels
from manyheads.world.model import Latent

if TYPE_CHECKING:
    import gymnasium

    from manyheads.heads.contract import Head, State
    from manyheads.task import Task
    from manyheads.world.model import World


@dataclass(frozen=True)
class PlayedEpisode:
    """T rows of a real episode, in the entries of the world's interface."""

    frames: list[Pixels]
    """the environment's own picture of every `every`th row; empty where it draws none"""
    every: int
    image: Pixels | None
    """(T, H, W, C), or None where the environment shows no image, though its world may know others'"""
    vector: Floats
    """(T, V)"""
    action: Tensor
    """(T, A) as the head chose it; the last one was never executed"""
    reward: Floats
    """(T,) under the task's own reward source"""
    terminated: npt.NDArray[np.bool_]
    """(T,) where that source ends the episode"""
    latents: list[Latent]
    """the posterior state after each row, of one environment"""
    states: list[State]
    """what the head remembers after each row"""
    layout_map: LayoutMap

    def pictures(self, env: gymnasium.Env[Any, Any], vectors: Floats) -> list[Pixels] | None:
        """Every `every`th of the vectors (T, V) drawn by the simulator, None where it can't draw them."""
        draw = getattr(env.unwrapped, "picture", None)
        if draw is None:
            return None
        drawn = []
        for vector in self.layout_map.unmap_vector(vectors[:: self.every]):
            picture = draw(vector)
            if picture is None:
                return None
            drawn.append(picture)
        return drawn


class ImaginedRollout(NamedTuple):
    """T decoded rows, in the entries of the world's interface."""

    image: Pixels | None
    """(T, H, W, C), or None where the world has no image"""
    vector: Floats
    """(T, V)"""


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for steps of a single environment: more would mostly wait for one another (7 times slower)."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@one_thread()
@torch.no_grad()
def play(
    world: World,
    head: Head,
    task: Task,
    env: gymnasium.Env[Any, Any],
    seed: int,
    steps: int,
    every: int = 1,
) -> PlayedEpisode:
    """Plays the head until the episode ends or `steps` rows are there; draws every `every`th of them."""
    adapted = FlatEnv(env, task.instance.signals)
    layout_map = LayoutMap(world.interface, adapted.layout)
    vector_mask = world.vector_masks([adapted.layout])
    generator = torch.Generator(world.device).manual_seed(seed)
    state, latent, action = (
        head.initial_state(1),
        world.initial(1),
        torch.zeros(1, world.interface.action_size, device=world.device),
    )
    draws = env.render_mode == "rgb_array"
    frames, images, vectors, actions, signals, latents, states = [], [], [], [], [], [], []
    row, last = adapted.reset(seed), False
    for at in range(min(steps, task.episode_steps + 1)):
        if at:
            row, last, _ = adapted.step(layout_map.unmap_action(action[0].cpu().numpy()))
        is_first = torch.tensor([at == 0], device=world.device)
        image, vector = layout_map.map_image(row.image), layout_map.map_vector(row.vector)
        latent = world.step(
            None if image is None else torch.as_tensor(image[None], device=world.device),
            torch.as_tensor(vector[None], device=world.device),
            action,
            is_first,
            latent,
            world.draw_noise(1, generator=generator),
            vector_mask,
        )
        measured = {}
        if head.needs_signals:
            measured = {"signals": torch.as_tensor(row.signals[None], dtype=torch.float32, device=world.device)}
        action, state = head.act(world, latent, state, is_first, generator, **measured)
        if draws and at % every == 0:
            picture = env.render()
            draws = picture is not None
            frames += [np.asarray(picture, np.uint8)] if draws else []
        images += [] if image is None or row.image is None else [image]
        vectors.append(vector)
        actions.append(action[0])
        signals.append(row.signals)
        latents.append(latent)
        states.append(state)
        if last:
            break
    table = np.stack(signals)
    columns = {name: torch.as_tensor(table[:, column]) for column, name in enumerate(adapted.signals)}
    labels = task.reward.label(columns)
    return PlayedEpisode(
        frames=frames,
        every=every,
        image=np.stack(images) if images else None,
        vector=np.stack(vectors),
        action=torch.stack(actions),
        reward=np.asarray(labels.reward, np.float32),
        terminated=np.asarray(labels.terminated, np.bool_),
        latents=latents,
        states=states,
        layout_map=layout_map,
    )


@one_thread()
@torch.no_grad()
def imagine(world: World, played: PlayedEpisode, context: int, head: Head | None, seed: int) -> ImaginedRollout:
    """`context` rows as the world saw them, then the rest open loop, without looking.

    The actions are those of the real episode, or, with a `head`, its own in imagination.
    """
    generator = torch.Generator(world.device).manual_seed(seed)
    latents = played.latents[:context]
    state = played.states[context - 2] if context > 1 or head is None else head.initial_state(1)
    for at in range(context - 1, len(played.latents) - 1):
        action = played.action[at : at + 1]
        if head is not None:
            is_first = torch.tensor([at == 0], device=world.device)
            action, state = head.act(world, latents[-1], state, is_first, generator)
        latents.append(world.imagine_step(latents[-1], action, world.draw_noise(1, generator=generator)))
    image, vector = world.decode(Latent(*(torch.cat(part) for part in zip(*latents, strict=True))))
    return ImaginedRollout(None if image is None else image.cpu().numpy(), vector.cpu().numpy())
