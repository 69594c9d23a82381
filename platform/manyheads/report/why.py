"""Why a head's real return is not the predicted one: one real episode, replayed inside the model step by step."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from manyheads.environment.contract import REWARD
from manyheads.errors import ManyheadsError
from manyheads.execution.trees import map_tensors
from manyheads.heads.contract import RewardPredictor
from manyheads.heads.imagination import with_memory
from manyheads.report.drawing import Floats
from manyheads.report.rollouts import PlayedEpisode, one_thread, play
from manyheads.world.model import Latent

if TYPE_CHECKING:
    from manyheads.heads.contract import Head, State
    from manyheads.task import Task
    from manyheads.world.model import World


HORIZON = 15
"""steps that heads are trained to imagine"""
SMALL = 0.1
"""of the larger return: errors below that explain nothing"""


@dataclass(frozen=True)
class Gap:
    """Predicted minus real return of an episode of T steps, as three differences that add up to it.

    `reward_error`: what the head's reward predictor says of the true states, less what was earned.
    `model_error`: what it says of states imagined under the real actions, from a true state every `HORIZON` steps on,
    less the same of the true states. Further without looking, a body that needs balancing falls under any recorded
    actions, however right the model is.
    `policy_error`: what it says where the head acts in imagination, all along, less the same under the real actions.
    """

    task: str
    seed: int
    steps: int
    real: float
    predicted: float
    reward_error: float
    model_error: float
    policy_error: float
    rewards: dict[str, list[float]]
    """(T,) by line: `real`, `true states`, `real actions`, `own actions`"""

    @property
    def gap(self) -> float:
        return self.predicted - self.real

    @property
    def parts(self) -> dict[str, float]:
        return {"model": self.model_error, "reward": self.reward_error, "policy": self.policy_error}

    @property
    def largest(self) -> str:
        """The part that is largest in magnitude."""
        return max(self.parts, key=lambda part: abs(self.parts[part]))

    @property
    def agrees(self) -> bool:
        """Whether every part is small next to the returns."""
        return abs(self.parts[self.largest]) <= SMALL * max(abs(self.real), abs(self.predicted))

    def record(self) -> dict[str, Any]:
        """JSON-able."""
        return {**asdict(self), "gap": self.gap, "largest": self.largest, "agrees": self.agrees}


@one_thread()
@torch.no_grad()
def explain(world: World, head: Head, task: Task, seed: int, samples: int = 16) -> Gap:
    """Plays one episode with this seed, and imagines it `samples` times from its first state on."""
    env = task.make_environment()
    try:
        rows = task.episode_steps + 1
        played = play(world, head, task, env, seed, rows, every=rows)
    finally:
        env.close()
    stop = _stop(played)
    if stop < 2:
        raise ManyheadsError(f"The episode of {task.name} with seed {seed} has no step to explain; try another seed.")
    true = [latent.map(lambda x: x.expand(samples, *x.shape[1:])) for latent in played.latents[:stop]]
    states = played.states[:stop]
    lines: dict[str, Floats] = {"real": played.reward[1:stop].astype(np.float64)}
    lines["true states"] = _rewards(world, head, task, true, [_repeated(state, samples) for state in states])
    for line, actions in (("real actions", played.action), ("own actions", None)):
        generator = torch.Generator(world.device).manual_seed(seed)
        latents, remembered = _imagine(world, head, played, stop, samples, generator, actions)
        lines[line] = _rewards(world, head, task, latents, remembered)
    sums = {line: float(rewards.sum()) for line, rewards in lines.items()}
    return Gap(
        task=task.name,
        seed=seed,
        steps=stop - 1,
        real=sums["real"],
        predicted=sums["own actions"],
        reward_error=sums["true states"] - sums["real"],
        model_error=sums["real actions"] - sums["true states"],
        policy_error=sums["own actions"] - sums["real actions"],
        rewards={line: rewards.tolist() for line, rewards in lines.items()},
    )


def _stop(played: PlayedEpisode) -> int:
    """Rows up to the one in which the task itself ends, or all."""
    ended = np.flatnonzero(played.terminated)
    return int(ended[0]) + 1 if ended.size else len(played.latents)


def _imagine(
    world: World,
    head: Head,
    played: PlayedEpisode,
    stop: int,
    samples: int,
    generator: torch.Generator,
    actions: Tensor | None,
) -> tuple[list[Latent], list[State]]:
    """States and what the head remembers after each of `stop` rows, without looking: from the true first one on; under
    given `actions` from a true one every `HORIZON` steps."""
    latents: list[Latent] = []
    remembered: list[State] = []
    reached, before = _repeated(played.latents[0], samples), head.initial_state(samples)
    for at in range(stop):
        is_first = torch.full((samples,), at == 0, device=world.device)
        action, state = head.act(world, reached, before, is_first, generator)
        if at == 0:
            state = _repeated(played.states[0], samples)
        latents.append(reached)
        remembered.append(state)
        start, before = reached, state
        if actions is not None:
            action = actions[at].expand(samples, -1)
            if at % HORIZON == 0:
                start, before = _repeated(played.latents[at], samples), _repeated(played.states[at], samples)
        reached = world.imagine_step(start, action, world.draw_noise(samples, generator=generator))
    return latents, remembered


def _rewards(world: World, head: Head, task: Task, latents: list[Latent], states: list[State]) -> Floats:
    """(T,) what is expected to be earned in each row but the first, counting the chance that it is reached."""
    deter, stoch = (torch.stack(part, 1) for part in zip(*latents, strict=True))
    if isinstance(head, RewardPredictor):
        memory = torch.stack(states, 1) if head.needs_signals else None
        reward, continues = head.predict(with_memory(Latent(deter, stoch).feature, memory))
        continues = (continues / getattr(getattr(head, "settings", None), "discount", 1.0)).clamp(max=1)
    else:
        found = world.readout(Latent(deter, stoch), task.instance.dynamics_key)
        signals = {name: value.T for name, value in found.signals.items() if name != REWARD.name}
        is_first = torch.zeros_like(next(iter(signals.values())), dtype=torch.bool)
        is_first[0] = True
        reward, continues = task.reward.unroll(signals, is_first).reward.T, found.continues
    reached = torch.cat([torch.ones_like(continues[:, :1]), continues[:, 1:-1]], 1).cumprod(1)
    means: Floats = (reward[:, 1:] * reached).mean(0).double().cpu().numpy()
    return means


def _repeated(state: State, samples: int) -> State:
    """What a head remembers of one environment, for as many alike."""
    return map_tensors(lambda x: x.expand(samples, *x.shape[1:]).contiguous(), state)
