"""N imagined episodes side by side: latents, what they look like, and what they pay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from manyheads.environment.adapter import FlatEnv, LayoutMap
from manyheads.environment.pictures import Pixels
from manyheads.environment.unflatten import ObservationUnflattener
from manyheads.errors import ManyheadsError
from manyheads.imagined_env.disagreement import Disagreement
from manyheads.imagined_env.opened import OpenedWorld
from manyheads.imagined_env.rewards import imagined_reward
from manyheads.imagined_env.starts import RecordedStarts, SimulatorStarts, Starts
from manyheads.task import Task
from manyheads.world.model import Latent

ENDS = 0.5
"""an episode ends in a state from which it continues with less than this probability"""


class ImaginedRow(NamedTuple):
    """One row of one episode."""

    observation: Any
    """native"""
    image: Pixels | None
    """(H, W, C) uint8 as decoded"""
    reward: float
    terminated: bool
    info: dict[str, Any]
    """`signals` and `continues` as predicted; `disagreement`, 1 where the world knows as much as usual"""


class ImaginedEpisodes:
    """N episodes of a task in a world, each with its own random numbers: an episode does not depend on the others.

    The simulator is built once, for its spaces.
    """

    def __init__(self, loaded: OpenedWorld, task: Task, number: int, members: int, seed: int) -> None:
        """`members` predictors are fitted to the replay for `disagreement`; without a replay, or with 0, there is
        none."""
        self.world, self.task, self.number = loaded.model, task, number
        loaded.folder.record_of(task.instance)
        self.key = task.instance.dynamics_key
        if self.key not in self.world.readouts:
            raise ManyheadsError(
                f"{loaded.folder.path} has no readout of {self.key}. `manyheads finetune {loaded.folder.path} "
                f"{task.name}` fits one."
            )
        self.env = FlatEnv(task.make_simulator(), task.instance.signals)
        self.layout_map = LayoutMap(self.world.interface, self.env.layout)
        self._vector_mask = self.world.vector_masks([self.env.layout])
        self.unflatten = ObservationUnflattener(self.env.observe)
        self.reward = imagined_reward(loaded, task)
        replay = loaded.folder.replay(read_only=True) if (loaded.folder.path / "replay").exists() else None
        recorded = None if replay is None else RecordedStarts(replay, task)
        self.starts: Starts = recorded if recorded else SimulatorStarts(self.env, self.layout_map)
        self.disagreement = None
        if members and replay is not None and recorded:
            self.disagreement = Disagreement(self.world, replay, self.key, members, seed)
        self.latent = self.world.initial(number)
        self.memory = task.reward.init(number).to(self.world.device)
        self.generators = [torch.Generator(self.world.device) for _ in range(number)]

    def reset(self, episode: int, generator: np.random.Generator) -> ImaginedRow:
        """Begins a new episode; all that follows in it comes from this generator."""
        self.generators[episode].manual_seed(int(generator.integers(2**62)))
        image, vector = self.starts.draw(generator)
        device = self.world.device
        is_first = torch.ones(1, dtype=torch.bool, device=device)
        latent = self.world.step(
            None if image is None else torch.from_numpy(image)[None].to(device),
            torch.from_numpy(vector)[None].to(device),
            torch.zeros(1, self.world.interface.action_size, device=device),
            is_first,
            self.world.initial(1),
            self._noise([episode]),
            self._vector_mask,
        )
        rows = self._rows([episode], latent, is_first, None)
        return rows[0]

    @torch.no_grad()
    def step(self, episodes: Sequence[int], actions: Sequence[npt.NDArray[np.float32]]) -> list[ImaginedRow]:
        """One step of some of the episodes by flat actions (a,) of the task's environment."""
        index = torch.tensor(episodes, device=self.world.device)
        flat = self.layout_map.map_action(np.stack([np.asarray(action) for action in actions]))
        action = torch.from_numpy(flat).to(self.world.device)
        before = self.latent.map(lambda x: x[index])
        disagreement = None if self.disagreement is None else self.disagreement(before, action)
        latent = self.world.imagine_step(before, action, self._noise(episodes))
        is_first = torch.zeros(len(episodes), dtype=torch.bool, device=self.world.device)
        return self._rows(episodes, latent, is_first, disagreement)

    @torch.no_grad()
    def _rows(
        self, episodes: Sequence[int], latent: Latent, is_first: Tensor, disagreement: Tensor | None
    ) -> list[ImaginedRow]:
        """The rows of states just reached, which become the episodes' own."""
        index = torch.tensor(episodes, device=self.world.device)
        self.latent.deter[index], self.latent.stoch[index] = latent.deter, latent.stoch
        predicted = self.world.readout(latent, self.key)
        reward, terminated, memory = self.reward(latent, predicted.signals, self.memory[index], is_first)
        self.memory[index] = memory
        ends = terminated | (predicted.continues < ENDS)
        image, vector = self.world.decode(latent)
        images = None if image is None else image.cpu().numpy()
        vectors = self.layout_map.unmap_vector(vector.cpu().numpy())
        signals = {name: values.tolist() for name, values in predicted.signals.items()}
        rows = []
        for i in range(len(episodes)):
            pay = float(reward[i])
            info: dict[str, Any] = {"signals": {"reward": pay, **{name: values[i] for name, values in signals.items()}}}
            info["continues"] = float(predicted.continues[i])
            if disagreement is not None:
                info["disagreement"] = float(disagreement[i])
            own = None if images is None else images[i]
            observation = self.unflatten(own, vectors[i])
            rows.append(ImaginedRow(observation, own, pay, bool(ends[i] & ~is_first[i]), info))
        return rows

    def _noise(self, episodes: Sequence[int]) -> Tensor:
        return torch.cat([self.world.draw_noise(1, generator=self.generators[each]) for each in episodes])
