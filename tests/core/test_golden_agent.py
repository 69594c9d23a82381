"""A tiny whole agent against the official code, plain and fast: every loss, every gradient, three training steps."""

import pytest
import torch
from golden_format import close, golden, our_state
from small_agent import Uncompiled, head_context, rows_of_head
from torch.nn import functional as F

from manyheads.environment.layout import SpaceLayout
from manyheads.execution.eager import Execution
from manyheads.experience.batch import Batch
from manyheads.heads.actor_critic import ActorCritic, ActorCriticSettings
from manyheads.heads.contract import evaluate_loss
from manyheads.heads.imagination import ImaginationNoise
from manyheads.learning.learner import HeadLabels, Learner, _all_losses
from manyheads.settings import OptimizerSettings
from manyheads.world.distributions import mixed_probs
from manyheads.world.model import Latent, World
from manyheads.world.sizes import WorldSettings

KINDS = ["continuous", "discrete"]
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


class Agent:
    """World, head and learner with the weights of a golden file, fed with its recorded samples."""

    def __init__(self, file, parameters, execution, **optimizer):
        self.hyper = hyper = file.metadata["hyper"]
        kind, count = hyper["act"]
        self.discrete = count if kind == "disc" else None
        actions = {"discrete": (("a", count),)} if self.discrete else {"continuous": tuple("abc")}
        places = SpaceLayout(image=tuple(hyper["img"]), vector=tuple("vwxyz"), **actions)
        sizes = {name: hyper[name] for name in ("deter", "hidden", "classes", "depth", "units", "mults")}
        self.world = World(places, WorldSettings(groups=hyper["stoch"], **sizes))
        self.world.execution = execution
        self.head = ActorCritic(head_context(self.world, ActorCriticSettings(horizon=hyper["H"])))
        state = our_state(parameters)
        in_world = ("encoder.", "rssm.", "decoder.")
        self.world.load_state_dict({n: x for n, x in state.items() if n.startswith(in_world)})
        self.head.load_state_dict({n: x for n, x in state.items() if not n.startswith(in_world)})
        self.learner = Learner(self.world, {"task": self.head}, OptimizerSettings(**optimizer))

    def actions(self, recorded):
        return F.one_hot(recorded.long(), self.discrete).float() if self.discrete else recorded

    def feed(self, batch, sample, previous_action, start):
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
        return self.batch, {"task": labels}, torch.ones(shape[0], 5), torch.ones(shape[0])

    def observe(self, noise):
        b = self.batch
        start = Latent(b.deter, b.stoch)
        return self.world.observe(b.image, b.vector, b.previous_action, b.is_first, start, noise)

    @torch.no_grad()
    def uniform_of(self, index):
        """Uniform numbers in the middle of the recorded classes' probability intervals."""
        uniform = torch.zeros(index.shape)
        for t in range(index.shape[1]):
            probs = mixed_probs(self.observe(uniform).posterior[:, t], 0.01)
            chosen = index[:, t, :, None].long()
            upper = probs.cumsum(-1).gather(-1, chosen)
            uniform[:, t] = (upper - probs.gather(-1, chosen) / 2)[..., 0]
        return uniform


def flat_states(observed):
    return observed.latents.map(lambda x: x.detach().flatten(0, 1))


@pytest.fixture(params=[Execution, Uncompiled], ids=["plain", "fast"])
def execution(request):
    return request.param()


@pytest.fixture(params=KINDS)
def recorded(request, execution):
    """A fresh agent, its golden file and the arguments of its update."""
    file = golden(f"agent_{request.param}")
    agent = Agent(file, file.under("params."), execution)
    batch = file.under("batch.")
    start = Latent(batch["init_deter"], batch["init_stoch"])
    return agent, file, agent.feed(batch, file.under("sample."), batch["prev_action"], start)


def test_states_and_predictions(recorded):
    agent, g, _ = recorded
    world, head, hyper = agent.world, agent.head, agent.hyper
    close(world.encoder(agent.batch.image, agent.batch.vector), g["mid.tokens"])
    observed = agent.observe(agent.posterior)
    close(observed.latents.deter, g["mid.deter"])
    close(observed.posterior, g["mid.post_logits"])
    close(observed.prior, g["mid.prior_logits"])
    assert torch.equal(observed.latents.stoch.argmax(-1).int(), g["sample.post_index"])

    imagined = head.imagine(world, flat_states(observed), agent.imagination)
    deter = imagined.feature[:, 1:, : hyper["deter"]]
    close(deter, g["mid.imag_deter"])
    stoch = imagined.feature[:, 1:, hyper["deter"] :].unflatten(-1, (hyper["stoch"], hyper["classes"]))
    assert torch.equal(stoch.argmax(-1).int(), g["sample.imag_index"])
    close(world.rssm.prior(deter), g["mid.imag_prior_logits"])
    close(imagined.action, agent.actions(g["sample.imag_action"])[:, : hyper["H"]])
    policy = head.actor(imagined.feature)
    if agent.discrete:
        close(policy.log_probs[0], g["mid.imag_actor_logits"].log_softmax(-1))
    else:
        close(policy.mean, g["mid.imag_actor_mean"])
        close(policy.std, g["mid.imag_actor_std"])
    reward, continues = head.predict(imagined.feature)
    close(reward, g["mid.imag_reward"])
    close(continues, g["mid.imag_continue"])
    close(head.critic.mean(head.critic(imagined.feature)), g["mid.imag_value"])
    close(head.slow_critic.mean(head.slow_critic(imagined.feature)), g["mid.imag_slow_value"])


def test_losses_of_every_row(recorded):
    agent, g, (batch, labels, vector_mask, image_mask) = recorded
    world, head = agent.world, agent.head
    observed = agent.observe(agent.posterior)
    losses = world.losses(observed, batch.image, batch.vector, vector_mask, image_mask)
    feature, task = observed.latents.feature, labels["task"]
    rows = rows_of_head(observed.latents, batch, task)
    losses["reward"], losses["continue"] = head.label_losses(feature, rows)
    imagined = head.imagine(world, flat_states(observed), agent.imagination)
    everywhere = torch.ones(task.reward.numel(), dtype=torch.bool)
    dream = head.trajectory_losses(imagined, *head.predict(imagined.feature), everywhere)
    close(dream.policy, g["mid.imag_policy_loss"], rtol=2e-5)
    close(dream.value, g["mid.imag_value_loss"], rtol=2e-5)
    close(dream.returns, g["mid.imag_return"])
    losses["policy"], losses["value"] = (x.mean(1).view_as(task.reward) for x in (dream.policy, dream.value))
    boot = dream.returns[:, 0].view_as(task.reward)
    returns = head.replay_returns(rows, boot)
    losses["replay_value"] = head.replay_value_loss(feature, batch.is_last, returns)
    for name in TERMS:
        close(losses[name.removeprefix("rec_")], g[f"loss_steps.{name}"], rtol=2e-5)


def test_losses_gradients_and_norms(recorded):
    agent, g, arguments = recorded
    terms, heads, _ = agent.learner._losses(*arguments)
    losses = {name: evaluate_loss(loss)[0] for name, loss in _all_losses(terms, heads).items()}
    scales = dict(zip(TERMS, g["loss_scales"].tolist(), strict=True))
    means = {name: losses[term] / scales[name] for name, term in TERMS.items()}
    for name, mean in means.items():
        close(mean, g[f"loss.{name}"], rtol=2e-5)
    total = torch.stack(list(losses.values())).sum()
    close(total, g["loss.total"], rtol=2e-5)

    named = dict(agent.world.named_parameters()) | dict(agent.head.named_parameters())
    parameters = {name: p for name, p in named.items() if p.requires_grad}
    names = list(our_state({name: torch.zeros(1) for name in g.metadata["gradnorm_columns"]}))
    assert sorted(names) == sorted(parameters)
    for row, (name, mean) in enumerate(means.items()):
        gradients = torch.autograd.grad(mean, [parameters[n] for n in names], retain_graph=True, allow_unused=True)
        norms = torch.stack([torch.zeros(()) if x is None else x.norm() for x in gradients])
        expected = g["gradnorm_table"][row]
        torch.testing.assert_close(norms, expected, rtol=1e-4, atol=1e-6, msg=lambda m, name=name: f"{name}: {m}")
        assert torch.equal(norms == 0, expected == 0), name

    total.backward()
    expected = our_state(g.under("grad."))
    assert expected.keys() == parameters.keys()
    for name, gradient in expected.items():
        close(parameters[name].grad, gradient, rtol=0, of_largest=1e-4)
    for name, norm in our_state(g.under("gradnorm.")).items():
        close(parameters[name].grad.norm(), norm, rtol=1e-4)
    norms = torch.stack([o.gradient_norms().norm() for o in agent.learner.optimizers.values()])
    close(norms.norm(), g["gradnorm_global"], rtol=1e-4)
    agent.head.after_update(heads["task"].new_state)
    close(agent.head.return_scale.low, g["after.return_norm_low"])
    close(agent.head.return_scale.high, g["after.return_norm_high"])


@pytest.mark.parametrize("kind", KINDS)
def test_three_training_steps(kind, execution):
    file = golden(f"train_{kind}")
    m = {name: float(file.metadata[name]) for name in ("lr", "eps", "warmup")}
    agent = Agent(file, file.under("start."), execution, lr=m["lr"], eps=m["eps"], warmup=int(m["warmup"]))
    for step in (1, 2, 3):
        g = file.under(f"step{step}.")
        g = {name: torch.as_tensor(value) for name, value in g.items()}
        rows = {n.removeprefix("batch."): x for n, x in g.items() if n.startswith("batch.")}
        start = Latent(rows["stored_deter"][:, 0], rows["stored_stoch"][:, 0])
        batch = {name: x[:, 1:] for name, x in rows.items()}
        sample = {n.removeprefix("sample."): x for n, x in g.items() if n.startswith("sample.")}
        update = agent.learner.update(*agent.feed(batch, sample, rows["action"][:, :-1], start))
        close(update.latents.deter, g["new_deter"])
        assert torch.equal(update.latents.stoch, g["new_stoch"])
        scales = {"rep": 0.1, "replay_value": 0.3}
        for name, term in TERMS.items():
            ours = torch.tensor(update.metrics[term] / scales.get(name, 1.0))
            close(ours, g[f"loss.{name}"], rtol=2e-5)
        total = torch.tensor(sum(update.metrics[term] for term in TERMS.values()))
        close(total, g["loss.total"], rtol=2e-5)
        norms = torch.tensor([update.metrics[f"{name}/gradient_norm"] for name in ("world", "task")])
        close(norms.norm(), g["gradnorm_global"], rtol=1e-4)
        close(agent.head.return_scale.low, g["return_norm_low"])
        close(agent.head.return_scale.high, g["return_norm_high"])
        if step > 1:
            ours = agent.world.state_dict() | agent.head.state_dict()
            for name, value in our_state(file.under(f"after{step}.")).items():
                torch.testing.assert_close(ours[name], value, rtol=1e-5, atol=0.01 * m["lr"])
