"""Writes whole agents and their training steps of a golden set of other widths; see `golden_writer`."""

from pathlib import Path
from typing import Any

import torch
from golden_agent import TERMS, Agent
from golden_arrays import flags, gradients_of, image, official_state, one_hot, parameters_of, randomize, save, under
from golden_format import set_layers, world_settings
from small_agent import head_context, rows_of_head
from torch import Tensor

from manyheads.environment.layout import SpaceLayout
from manyheads.execution.eager import Execution
from manyheads.heads.actor_critic import ActorCritic, ActorCriticSettings
from manyheads.heads.contract import evaluate_loss
from manyheads.world.model import Latent, World

HYPER: dict[str, dict[str, Any]] = {
    "continuous": {"B": 3, "T": 4, "H": 3, "act": ["cont", 2], "img": [8, 12, 1], "mults": [3, 2], "depth": 4}
    | {"deter": 48, "hidden": 10, "stoch": 3, "classes": 6, "units": 12},
    "discrete": {"B": 1, "T": 6, "H": 2, "act": ["disc", 5], "img": [8, 16, 2], "mults": [1, 3, 2], "depth": 4}
    | {"deter": 24, "hidden": 14, "stoch": 6, "classes": 3, "units": 10},
}
BLOCKS = {"continuous": 6, "discrete": 4}
VECTOR, KERNEL, ACTOR_LAYERS, CRITIC_LAYERS, STEPS = 7, 3, 2, 4, 4
LOSS_SCALES = torch.tensor([0.5, 2.0, 1.0, 1.0, 0.8, 0.2, 1.0, 1.0, 0.4])
OPTIMIZER = {"lr": 2e-3, "warmup": 1, "agc": 0.2, "beta1": 0.8, "beta2": 0.99, "eps": 1e-2, "slow_rate": 0.05}


def write_agent(folder: Path, kind: str) -> None:
    """`agent_KIND`: every loss, state and gradient of one batch."""
    hyper, parameters = HYPER[kind], _parameters(kind)
    agent = Agent({"hyper": hyper}, parameters, LOSS_SCALES, Execution(), VECTOR)
    world, head = agent.world, agent.head
    batch, (start,) = _rows(hyper, hyper["T"]), [_latent(hyper, hyper["B"])]
    previous, sample = _actions(hyper, hyper["B"], hyper["T"]), _noise(hyper)
    arguments = agent.feed(batch, sample, previous, start)
    sample |= _sampled(agent, sample)
    g = under("params.", parameters) | under("batch.", batch) | {"batch.prev_action": previous}
    g |= {"batch.init_deter": start.deter, "batch.init_stoch": start.stoch} | under("sample.", sample)

    observed = agent.observe(agent.posterior)
    imagined = head.imagine(world, observed.latents.map(lambda x: x.detach().flatten(0, 1)), agent.imagination)
    deter, (reward, live) = imagined.feature[:, 1:, : hyper["deter"]], head.predict(imagined.feature)
    mid = {"tokens": world.encoder(batch["image"], batch["vector"]), "deter": observed.latents.deter}
    mid |= {"post_logits": observed.posterior, "prior_logits": observed.prior, "imag_deter": deter}
    mid |= {"imag_prior_logits": world.rssm.prior(deter), "imag_reward": reward, "imag_continue": live}
    for name, output in head.actor.outputs.items():
        mid[f"imag_actor_{name}"] = output(head.actor.layers(imagined.feature))
    if not agent.discrete:
        policy = head.actor(imagined.feature)
        mid |= {"imag_actor_mean": policy.mean, "imag_actor_std": policy.std}
    for name, critic in (("value", head.critic), ("slow_value", head.slow_critic)):
        mid[f"imag_{name}"] = critic.mean(critic(imagined.feature))

    _, labels, *masks = arguments
    rows, feature = rows_of_head(observed.latents, agent.batch, labels["task"]), observed.latents.feature
    steps = world.losses(observed, batch["image"], batch["vector"], *masks)
    steps["reward"], steps["continue"] = head.label_losses(feature, rows)
    dream = head.trajectory_losses(imagined, reward, live, torch.ones(len(deter), dtype=torch.bool))
    returns = head.replay_returns(rows, dream.returns[:, 0].view_as(batch["reward"]))
    steps["policy"], steps["value"] = (x.mean(1).view_as(batch["reward"]) for x in (dream.policy, dream.value))
    steps["replay_value"] = head.replay_value_loss(feature, agent.batch.is_last, returns)
    mid |= {"imag_return": dream.returns, "imag_policy_loss": dream.policy, "imag_value_loss": dream.value}
    g |= under("mid.", mid | {"replay_return": returns})
    g |= {f"loss_steps.{name}": steps[name.removeprefix("rec_")] for name in TERMS}
    save(folder, f"agent_{kind}", g | _gradients(agent, arguments), hyper=hyper, gradnorm_columns=_columns(agent))


def _gradients(agent: Agent, arguments: tuple[Any, ...]) -> dict[str, Tensor]:
    """Means of the losses, and what each of them and their sum teaches every tensor."""
    terms, heads, _ = agent.learner._losses(*arguments)
    losses = {name: evaluate_loss(loss)[0] for name, loss in agent.learner._all_losses(terms, heads).items()}
    means = {name: losses[term] / scale for scale, (name, term) in zip(LOSS_SCALES, TERMS.items(), strict=True)}
    parameters = [p for module in (agent.world, agent.head) for p in module.parameters() if p.requires_grad]
    table = []
    for mean in means.values():
        own = torch.autograd.grad(mean, parameters, retain_graph=True, allow_unused=True)
        table.append(torch.stack([torch.zeros(()) if x is None else x.norm() for x in own]))
    total = torch.stack([*losses.values()]).sum()
    total.backward()
    gradients = gradients_of(agent.world) | gradients_of(agent.head)
    agent.head.after_update(heads[0].new_state)
    norms = {name: x.norm() for name, x in gradients.items()}
    g = under("loss.", means | {"total": total}) | under("grad.", gradients) | under("gradnorm.", norms)
    g |= {"loss_scales": LOSS_SCALES, "gradnorm_global": torch.stack([*norms.values()]).norm()}
    scale = agent.head.return_scale
    return g | {
        "gradnorm_table": torch.stack(table),
        "after.return_norm_low": scale.low,
        "after.return_norm_high": scale.high,
    }


def _columns(agent: Agent) -> list[str]:
    named = {n: p for module in (agent.world, agent.head) for n, p in module.named_parameters() if p.requires_grad}
    return list(official_state(named))


def write_training(folder: Path, kind: str) -> None:
    """`train_KIND`: whole training steps."""
    hyper, parameters = HYPER[kind], _parameters(kind)
    metadata = {"hyper": hyper, **OPTIMIZER}
    agent, g = Agent(metadata, parameters, LOSS_SCALES, Execution(), VECTOR), under("start.", parameters)
    for step in range(1, STEPS + 1):
        n, rows = hyper["B"], _rows(hyper, hyper["T"] + 1)
        rows["action"] = _actions(hyper, n, hyper["T"] + 1)
        stored = [_latent(hyper, n) for _ in range(hyper["T"] + 1)]
        rows["stored_deter"], rows["stored_stoch"] = (torch.stack(parts, 1) for parts in zip(*stored, strict=True))
        sample, batch = _noise(hyper), {name: x[:, 1:] for name, x in rows.items()}
        arguments = agent.feed(batch, sample, rows["action"][:, :-1], stored[0])
        sample |= _sampled(agent, sample)
        del sample["post_uniform"]
        update = agent.learner.update(*arguments)
        own = under("batch.", rows) | under("sample.", sample)
        own |= {"new_deter": update.latents.deter, "new_stoch": update.latents.stoch}
        for scale, (name, term) in zip(LOSS_SCALES, TERMS.items(), strict=True):
            own[f"loss.{name}"] = update.metrics[term] / scale
        own["loss.total"] = torch.tensor(sum(update.metrics[term] for term in TERMS.values()))
        norms = torch.tensor([update.metrics[f"{name}/gradient_norm"] for name in ("world", "task")])
        scale = agent.head.return_scale
        own |= {"gradnorm_global": norms.norm(), "return_norm_low": scale.low, "return_norm_high": scale.high}
        after = parameters_of(agent.world) | parameters_of(agent.head)
        g |= {name: x.clone() for name, x in under(f"step{step}.", own).items()}
        g |= {name: x.clone() for name, x in under(f"after{step}.", after).items()}
    save(folder, f"train_{kind}", g, **metadata)


def _parameters(kind: str) -> dict[str, Tensor]:
    hyper, (act, count) = HYPER[kind], HYPER[kind]["act"]
    actions = {"continuous": tuple(f"a{i}" for i in range(count))} if act == "cont" else {"discrete": (("a", count),)}
    places = SpaceLayout(image=tuple(hyper["img"]), vector=tuple(f"v{i}" for i in range(VECTOR)), **actions)
    world = World(places, world_settings(hyper | {"blocks": BLOCKS[kind], "kernel": KERNEL}))
    head = ActorCritic(head_context(world, ActorCriticSettings(layers=ACTOR_LAYERS)))
    for critic in (head.critic, head.slow_critic):
        set_layers(critic.layers, CRITIC_LAYERS)
    randomize(world)
    randomize(head)
    head.return_scale.low, head.return_scale.high = torch.tensor(-0.5), torch.tensor(2.5)
    return {name: x.clone() for name, x in (parameters_of(world) | parameters_of(head)).items()}


def _rows(hyper: dict[str, Any], length: int) -> dict[str, Tensor]:
    shape = hyper["B"], length
    g = {"image": image(*shape, *hyper["img"]), "vector": torch.randn(*shape, VECTOR), "reward": torch.randn(shape)}
    return g | {f"is_{name}": flags(*shape) for name in ("first", "last", "terminal")}


def _latent(hyper: dict[str, Any], n: int) -> Latent:
    return Latent(torch.randn(n, hyper["deter"]).tanh(), one_hot(n, hyper["stoch"], hyper["classes"]))


def _actions(hyper: dict[str, Any], *shape: int) -> Tensor:
    kind, count = hyper["act"]
    return torch.randint(count, shape).int() if kind == "disc" else torch.randn(*shape, count)


def _noise(hyper: dict[str, Any]) -> dict[str, Tensor]:
    n, steps, groups, (kind, count) = hyper["B"] * hyper["T"], hyper["H"], hyper["stoch"], hyper["act"]
    g = {"post_uniform": torch.rand(hyper["B"], hyper["T"], groups), "imag_uniform": torch.rand(n, steps, groups)}
    if kind == "disc":
        return g | {"imag_action_uniform": torch.rand(n, steps + 1)}
    return g | {"imag_action_noise": torch.randn(n, steps + 1, count)}


@torch.no_grad()
def _sampled(agent: Agent, noise: dict[str, Tensor]) -> dict[str, Tensor]:
    """What the noise chooses, of an agent that has been fed."""
    deter, observed = agent.hyper["deter"], agent.observe(agent.posterior)
    imagined = agent.head.imagine(agent.world, observed.latents.map(lambda x: x.flatten(0, 1)), agent.imagination)
    stoch = imagined.feature[:, 1:, deter:].unflatten(-1, (agent.hyper["stoch"], agent.hyper["classes"]))
    own = noise["imag_action_uniform"][..., None] if agent.discrete else noise["imag_action_noise"]
    action = agent.head.actor(imagined.feature).sample(own)
    return {
        "post_index": observed.latents.stoch.argmax(-1).int(),
        "imag_index": stoch.argmax(-1).int(),
        "imag_action": action.argmax(-1).int() if agent.discrete else action,
    }
