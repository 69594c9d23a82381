"""A tiny whole agent with the weights of a golden file, fed with what the official code sampled."""

from typing import Any

import torch
from golden_format import load, optimizer_settings, our_state, world_settings
from small_agent import head_context
from torch import Tensor
from torch.nn import functional as F

from manyheads.environment.layout import SpaceLayout
from manyheads.execution.eager import Execution
from manyheads.experience.batch import Batch
from manyheads.heads.actor_critic import ActorCritic, ActorCriticSettings
from manyheads.heads.imagination import ImaginationNoise
from manyheads.learning.learner import HeadLabels, Learner
from manyheads.world.distributions import mixed_probs
from manyheads.world.model import Latent, World
from manyheads.world.rssm import Observed

TERMS = {
    "rec_image": "world/image",
    "rec_vector": "world/vector",
    "reward": "task/reward",
    "continue": "task/continue",
    "dyn": "world/dyn",
    "rep": "world/rep",
    "policy": "task/policy",
    "value": "task/value",
    "replay_value": "task/replay_value",
}
"""loss terms in the order of `loss_scales`, and what the learner calls them"""


class Agent:
    """World, head and learner with the weights of a golden file, fed with its recorded samples."""

    def __init__(
        self,
        metadata: dict[str, Any],
        parameters: dict[str, Tensor],
        loss_scales: Tensor,
        execution: Execution,
        vector: int,
    ) -> None:
        self.hyper = hyper = metadata["hyper"]
        kind, count = hyper["act"]
        self.discrete = count if kind == "disc" else None
        entries = tuple(f"a{i}" for i in range(count))
        places = SpaceLayout(
            image=tuple(hyper["img"]),
            vector=tuple(f"v{i}" for i in range(vector)),
            continuous=() if self.discrete else entries,
            discrete=(("a", count),) if self.discrete else (),
        )
        state, scales = our_state(parameters), dict(zip(TERMS, loss_scales.tolist(), strict=True))
        sizes = hyper | {
            "blocks": len(state["rssm.core.block_gates.weight"]),
            "kernel": state["decoder.image.out.weight"].shape[-1],
            "scales": {name.removeprefix("rec_"): scales[name] for name in ("rec_image", "rec_vector", "dyn", "rep")},
        }
        self.world = World(places, world_settings(sizes))
        self.world.execution = execution
        numbers = {"horizon": hyper["H"], "replay_value": scales["replay_value"]}
        if "slow_rate" in metadata:
            numbers["slow_critic_rate"] = metadata["slow_rate"]
        self.head = ActorCritic(head_context(self.world, ActorCriticSettings(**numbers)))
        in_world = ("encoder.", "rssm.", "decoder.")
        load(self.world, {n: x for n, x in state.items() if n.startswith(in_world)})
        load(self.head, {n: x for n, x in state.items() if not n.startswith(in_world)})
        self.learner = Learner(self.world, {"task": self.head}, optimizer_settings(metadata))

    def actions(self, recorded: Tensor) -> Tensor:
        """One-hot, where they are discrete."""
        return F.one_hot(recorded.long(), self.discrete).float() if self.discrete else recorded

    def feed(
        self, batch: dict[str, Tensor], sample: dict[str, Tensor], previous_action: Tensor, start: Latent
    ) -> tuple[Batch, dict[str, HeadLabels], Tensor, Tensor]:
        """Makes the learner's random numbers the recorded ones; returns its arguments."""
        first = batch["is_first"].bool()
        shape = first.shape
        self.batch = Batch(
            image=batch["image"],
            vector=batch["vector"],
            previous_action=self.actions(previous_action),
            action=torch.zeros(*shape, self.world.interface.action_size),
            signals=torch.zeros(*shape, 0),
            is_first=first,
            is_last=batch["is_last"].bool(),
            is_terminal=batch["is_terminal"].bool(),
            reset_state=torch.zeros_like(first),
            instance=torch.zeros(shape[0], dtype=torch.int64),
            deter=start.deter,
            stoch=start.stoch,
        )
        action = sample["imag_action_uniform"][..., None] if self.discrete else sample["imag_action_noise"]
        self.imagination = ImaginationNoise(sample["imag_uniform"], action[:, : self.hyper["H"]])
        self.posterior = sample.get("post_uniform")
        if self.posterior is None:
            self.posterior = self.uniform_of(sample["post_index"])
        self.world.draw_noise = lambda *_, **__: self.posterior
        self.head.draw_noise = lambda *_: self.imagination
        labels = HeadLabels(batch["reward"], self.batch.is_terminal, torch.ones(shape, dtype=torch.bool))
        return self.batch, {"task": labels}, torch.ones(shape[0], batch["vector"].shape[-1]), torch.ones(shape[0])

    def observe(self, noise: Tensor) -> Observed:
        """The posterior over the batch that was fed."""
        b = self.batch
        start = Latent(b.deter, b.stoch)
        return self.world.observe(b.image, b.vector, b.previous_action, b.is_first, start, noise)

    @torch.no_grad()
    def uniform_of(self, index: Tensor) -> Tensor:
        """Uniform numbers in the middle of the recorded classes' probability intervals."""
        uniform = torch.zeros(index.shape)
        for t in range(index.shape[1]):
            probs = mixed_probs(self.observe(uniform).posterior[:, t], self.world.settings.unimix)
            chosen = index[:, t, :, None].long()
            upper = probs.cumsum(-1).gather(-1, chosen)
            uniform[:, t] = (upper - probs.gather(-1, chosen) / 2)[..., 0]
        return uniform
