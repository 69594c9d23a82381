"""A tiny whole agent against the official code, plain and fast: every loss, every gradient, three training steps."""

import re

import pytest
import torch
from golden_agent import TERMS, Agent
from golden_format import close, golden, our_state
from small_agent import Uncompiled, rows_of_head

from manyheads.execution.eager import Execution
from manyheads.execution.select import make_execution
from manyheads.fused import REPLACEMENTS
from manyheads.heads.contract import evaluate_loss
from manyheads.world.model import Latent

pytestmark = pytest.mark.usefixtures("bins_of_golden")
KINDS = ["continuous", "discrete"]


def flat_states(observed):
    return observed.latents.map(lambda x: x.detach().flatten(0, 1))


def compiled():
    """What trains by default, in float32."""
    return make_execution("cpu", precision="float32", replacements=REPLACEMENTS)


EXECUTIONS = [Execution, Uncompiled, pytest.param(compiled, marks=pytest.mark.slow)]


@pytest.fixture(params=EXECUTIONS, ids=["plain", "fast", "compiled"])
def execution(request):
    return request.param()


@pytest.fixture(params=KINDS)
def recorded(request, execution):
    """A fresh agent, its golden file and the arguments of its update."""
    file = golden(f"agent_{request.param}")
    batch = file.under("batch.")
    agent = Agent(
        file.metadata, file.under("params."), file["loss_scales"], execution, vector=batch["vector"].shape[-1]
    )
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


def trained(agent):
    named = dict(agent.world.named_parameters()) | dict(agent.head.named_parameters())
    return {name: p for name, p in named.items() if p.requires_grad}


def evaluated(agent, arguments):
    """All losses by the learner's names, and the heads' own."""
    terms, heads, _ = agent.learner._losses(*arguments)
    return {name: evaluate_loss(loss)[0] for name, loss in agent.learner._all_losses(terms, heads).items()}, heads


def unscaled(losses, g):
    scales = g["loss_scales"].tolist()
    return {name: losses[term] / scale for scale, (name, term) in zip(scales, TERMS.items(), strict=True)}


@pytest.mark.parametrize("execution", EXECUTIONS[:2], ids=["plain", "fast"], indirect=True)
def test_which_loss_trains_which_parameter(recorded):
    """Not compiled: there a backward pass is one from the sum of all losses."""
    agent, g, arguments = recorded
    means, parameters = unscaled(evaluated(agent, arguments)[0], g), trained(agent)
    names = list(our_state({name: torch.zeros(1) for name in g.metadata["gradnorm_columns"]}))
    assert sorted(names) == sorted(parameters)
    for row, (name, mean) in enumerate(means.items()):
        gradients = torch.autograd.grad(mean, [parameters[n] for n in names], retain_graph=True, allow_unused=True)
        norms = torch.stack([torch.zeros(()) if x is None else x.norm() for x in gradients])
        expected = g["gradnorm_table"][row]
        torch.testing.assert_close(norms, expected, rtol=1e-4, atol=1e-6, msg=lambda m, name=name: f"{name}: {m}")
        assert torch.equal(norms == 0, expected == 0), name


def test_losses_gradients_and_norms(recorded):
    agent, g, arguments = recorded
    losses, heads = evaluated(agent, arguments)
    for name, mean in unscaled(losses, g).items():
        close(mean, g[f"loss.{name}"], rtol=2e-5)
    total = torch.stack(list(losses.values())).sum()
    close(total, g["loss.total"], rtol=2e-5)
    total.backward()
    expected, parameters = our_state(g.under("grad.")), trained(agent)
    assert expected.keys() == parameters.keys()
    for name, gradient in expected.items():
        close(parameters[name].grad, gradient, rtol=0, of_largest=1e-4)
    for name, norm in our_state(g.under("gradnorm.")).items():
        close(parameters[name].grad.norm(), norm, rtol=1e-4)
    norms = torch.stack([o.gradient_norms().norm() for o in agent.learner.optimizers.values()])
    close(norms.norm(), g["gradnorm_global"], rtol=1e-4)
    agent.head.after_update(heads[0].new_state)
    close(agent.head.return_scale.low, g["after.return_norm_low"])
    close(agent.head.return_scale.high, g["after.return_norm_high"])


@pytest.mark.parametrize("kind", KINDS)
def test_training_steps(kind, execution):
    file = golden(f"train_{kind}")
    loss_scales, vector = golden(f"agent_{kind}")["loss_scales"], file["step1.batch.vector"].shape[-1]
    agent = Agent(file.metadata, file.under("start."), loss_scales, execution, vector)
    steps = sorted({int(m[1]) for name in file if (m := re.match(r"step(\d+)\.", name))})
    for step in steps:
        g = file.under(f"step{step}.")
        rows = {n.removeprefix("batch."): x for n, x in g.items() if n.startswith("batch.")}
        start = Latent(rows["stored_deter"][:, 0], rows["stored_stoch"][:, 0])
        batch = {name: x[:, 1:] for name, x in rows.items()}
        sample = {n.removeprefix("sample."): x for n, x in g.items() if n.startswith("sample.")}
        update = agent.learner.update(*agent.feed(batch, sample, rows["action"][:, :-1], start))
        close(update.latents.deter, g["new_deter"])
        assert torch.equal(update.latents.stoch, g["new_stoch"])
        for scale, (name, term) in zip(loss_scales.tolist(), TERMS.items(), strict=True):
            ours = torch.tensor(update.metrics[term] / scale)
            close(ours, g[f"loss.{name}"], rtol=2e-5)
        total = torch.tensor(sum(update.metrics[term] for term in TERMS.values()))
        close(total, g["loss.total"], rtol=2e-5)
        norms = torch.tensor([update.metrics[f"{name}/gradient_norm"] for name in ("world", "task")])
        close(norms.norm(), g["gradnorm_global"], rtol=1e-4)
        close(agent.head.return_scale.low, g["return_norm_low"])
        close(agent.head.return_scale.high, g["return_norm_high"])
        ours = agent.world.state_dict() | agent.head.state_dict()
        for name, value in our_state(file.under(f"after{step}.")).items():
            torch.testing.assert_close(ours[name], value, rtol=1e-5, atol=0.01 * file.metadata["lr"])
