"""Functions, layers, recurrent model, returns and optimiser against the official code's own numbers."""

import math
import re
from itertools import accumulate

import pytest
import torch
from golden_format import (
    close,
    golden,
    load,
    optimizer_settings,
    our_name,
    our_state,
    parameter_counts,
    set_constant,
    world_settings,
)
from small_agent import head_context
from torch.nn import functional as F

from manyheads.environment.layout import SpaceLayout
from manyheads.execution.eager import Execution
from manyheads.heads.actor_critic import ActorCritic, ActorCriticSettings
from manyheads.heads.contract import Head, HeadBatch
from manyheads.heads.imagination import ImaginedTrajectory
from manyheads.heads.returns import lambda_return
from manyheads.learning.optimizer import LaProp
from manyheads.world import distributions as d
from manyheads.world.decoder import Decoder, DecoderStage
from manyheads.world.encoder import Encoder, EncoderStage
from manyheads.world.model import World
from manyheads.world.networks import MLP, BlockLinear, Convolution
from manyheads.world.rssm import RSSM, Latent, observe_sequence
from manyheads.world.sizes import WorldSettings

pytestmark = pytest.mark.usefixtures("bins_of_golden")

# --- transforms and distributions --------------------------------------------------------------


def test_symlog_and_symexp():
    g = golden("transforms")
    close(d.symlog(g["symlog_in"]), g["symlog_out"], of_largest=0)
    close(d.symexp(g["symexp_in"]), g["symexp_out"], of_largest=0)
    close(d.symexp(g["symexp_big_in"]), g["symexp_big_out"], of_largest=0)


def test_bins_are_symmetric_and_where_they_belong():
    bins = d.two_hot_bins()
    close(bins, golden("transforms")["twohot_bins"], of_largest=0)
    assert torch.equal(bins, -bins.flip(0))
    assert bins[len(bins) // 2] == 0


def test_two_hot_loss_and_its_gradient():
    g, bins = golden("transforms"), d.two_hot_bins()
    logits = g["twohot_logits"].clone().requires_grad_()
    loss = d.two_hot_loss(logits, d.two_bins(g["twohot_target"], bins))
    close(loss, g["twohot_loss"])
    loss.mean().backward()
    close(logits.grad, g["twohot_loss_grad"])


def test_two_hot_weights():
    """Read off the loss: the gradient of the loss is softmax minus weights."""
    g, bins = golden("transforms"), d.two_hot_bins()
    logits = g["twohot_logits"].clone().requires_grad_()
    d.two_hot_loss(logits, d.two_bins(g["twohot_target"], bins)).sum().backward()
    close(logits.softmax(-1) - logits.grad, g["twohot_weights"])


def test_two_hot_mean():
    g, bins = golden("transforms"), d.two_hot_bins()
    mean = d.two_hot_mean(g["twohot_logits"], bins)
    assert ((mean - g["twohot_pred"]).abs() <= 1e-5 * g["twohot_pred_magnitude"]).all()
    symmetric = g["twohot_zero_logits"]
    assert torch.equal(d.two_hot_mean(symmetric, bins), g["twohot_zero_pred"])
    close(d.two_hot_loss(symmetric, d.two_bins(torch.zeros(len(symmetric)), bins)), g["twohot_zero_loss"])


@pytest.fixture
def unimix():
    return golden("rssm").metadata["unimix"]


def test_categorical_latents(unimix):
    g = golden("distributions")
    p_logits, q_logits = (g[f"oh_logits_{x}"].clone().requires_grad_() for x in "pq")
    p, q = d.mixed_probs(p_logits, unimix), d.mixed_probs(q_logits, unimix)
    close(p, g["oh_probs_p"])
    close(q, g["oh_probs_q"])
    close(p.log(), g["oh_logprobs_p"])
    close((p.log() * g["oh_event"]).sum((-2, -1)), g["oh_log_prob"])
    close(-(p * p.log()).sum((-2, -1)), g["oh_entropy"])
    kl = d.categorical_kl(p, q)
    close(kl, g["oh_kl_groups"])
    close(kl.sum(-1), g["oh_kl"])
    kl.sum().backward()
    close(p_logits.grad, g["oh_kl_grad_p"])
    close(q_logits.grad, g["oh_kl_grad_q"])


def test_straight_through_gradient(unimix):
    g = golden("distributions")
    logits = g["oh_logits_p"].clone().requires_grad_()
    sample = d.straight_through(g["oh_sample"], d.mixed_probs(logits, unimix))
    assert torch.equal(sample.detach(), g["oh_sample"])
    (sample * g["oh_st_weight"]).sum().backward()
    close(logits.grad, g["oh_st_grad"])


def test_bounded_normal():
    g = golden("distributions")
    mean, deviation = d.bounded_normal(g["bn_raw_mean"], g["bn_raw_std"])
    close(mean, g["bn_mean"])
    close(mean, g["bn_pred"])
    close(deviation, g["bn_std"])
    log_prob = d.normal_log_prob(g["bn_action"], mean, deviation)
    close(log_prob, g["bn_log_prob_dims"])
    close(log_prob.sum(-1), g["bn_log_prob"])
    close(d.normal_entropy(deviation), g["bn_entropy_dims"])
    close(d.normal_entropy(deviation).sum(-1), g["bn_entropy"])


def test_bernoulli():
    g = golden("distributions")
    logit = g["ber_logit"]
    close(d.bernoulli_loss(*torch.broadcast_tensors(logit[:, None], g["ber_targets"])), g["ber_loss"])
    close(-d.bernoulli_loss(logit, torch.ones_like(logit)), g["ber_log_prob1"])
    close(-d.bernoulli_loss(logit, torch.zeros_like(logit)), g["ber_log_prob0"])
    close(logit.sigmoid(), g["ber_prob1"])


def test_reconstruction_errors():
    g = golden("distributions")
    close((g["slmse_output"] - d.symlog(g["slmse_target"])).square().sum(-1), g["slmse_loss"])
    image = g["img_raw"].sigmoid()
    close(image, g["img_pred"])
    close((image - g["img_target"].float() / 255).square().sum((-3, -2, -1)), g["img_loss"])


# --- layers ------------------------------------------------------------------------------------


def test_mlp_and_its_gradients():
    g = golden("layers")
    inputs, units = g["mlp.layer0.kernel"].shape
    mlp, x = MLP(inputs, units, layers=1), g["mlp_in"].clone().requires_grad_()
    load(mlp, our_state(g.under("mlp.")))
    close(mlp[0].linear(x), g["mlp_layer0_linear"])
    close(mlp[0].norm(mlp[0].linear(x)), g["mlp_layer0_norm"])
    close(mlp[0](x), g["mlp_layer0_act"])
    close(mlp(x), g["mlp_out"])
    (mlp(x) * g["mlp_grad_weight"]).sum().backward()
    close(x.grad, g["mlp_grad_in"])
    close(mlp[0].linear.weight.grad.T, g["mlp_grad_layer0_kernel"])
    close(mlp[0].norm.weight.grad, g["mlp_grad_layer0_norm_scale"])


def test_block_linear():
    g = golden("layers")
    blocks, inputs, outputs = g["block.kernel"].shape
    layer = BlockLinear(blocks * inputs, blocks * outputs, blocks)
    load(layer, {"weight": g["block.kernel"], "bias": g["block.bias"]})
    close(layer(g["block_in"].unflatten(-1, (blocks, inputs))).flatten(-2), g["block_out"])


def test_image_stages():
    g = golden("layers")
    kernel, _, inputs, outputs = g["conv.kernel"].shape
    stage = EncoderStage(inputs, outputs, kernel)
    load(stage, _stage(g, "conv"))
    x = g["conv_img"].float() / 255 - 0.5
    close(x, g["conv_in"])
    close(stage.conv(x), g["conv_out"])
    close(stage(x), g["conv_act"])
    kernel, _, inputs, outputs = g["deconv.kernel"].shape
    stage = DecoderStage(inputs, outputs, kernel)
    load(stage, _stage(g, "deconv"))
    plain = Convolution(inputs, outputs, kernel)
    load(plain, stage.conv.state_dict())
    close(plain(g["deconv_up"]), g["deconv_conv"])
    close(stage.conv(g["conv_act"]), g["deconv_conv"])
    close(stage(g["conv_act"]), g["deconv_act"])


def _stage(g, name):
    weight = g[f"{name}.kernel"].permute(3, 2, 0, 1)
    return {"conv.weight": weight, "conv.bias": g[f"{name}.bias"], "norm.weight": g[f"{name}.norm_scale"]}


def _places(observation):
    """The layout of an observation (B, T, ...) by key, and the entries of each key of its vector."""
    widths = {key: x[0, 0].numel() for key, x in sorted(observation.items()) if key != "image"}
    ends = dict(zip(widths, accumulate(widths.values()), strict=True))
    vector = tuple(f"{key}{i}" for key, width in widths.items() for i in range(width))
    places = SpaceLayout(image=tuple(observation["image"].shape[2:]), vector=vector, continuous=("a",))
    return places, {key: slice(end - widths[key], end) for key, end in ends.items()}


def _vector(observation, keys):
    rows = observation["image"].shape[:2]
    return torch.cat([observation[key].reshape(*rows, -1) for key in keys], -1)


def _channels(state, part):
    """Output channels of an image network's stages, first to last."""
    stages = {name: x for name, x in state.items() if re.fullmatch(rf"{part}\.\d\.conv\.bias", name)}
    return tuple(len(stages[name]) for name in sorted(stages))


def test_encoder():
    g = golden("layers")
    observation, state = g.under("enc_obs."), our_state(g.under("enc_params."))
    settings = WorldSettings(
        depth=1,  # channels are the product of depth and mults
        mults=_channels(state, "encoder.image"),
        units=len(state["encoder.vector.0.linear.bias"]),
        kernel=state["encoder.image.0.conv.weight"].shape[-1],
    )
    places, keys = _places(observation)
    encoder = Encoder(places, settings)
    load(encoder, {name.removeprefix("encoder."): array for name, array in state.items()})
    close(encoder(observation["image"], _vector(observation, keys)), g["enc_tokens"])


def test_decoder():
    g = golden("layers")
    target, state = g.under("dec_target."), our_state(g.under("dec_params."))
    latent = Latent(g["dec_deter"], g["dec_stoch"])
    groups, classes = latent.stoch.shape[-2:]
    settings = WorldSettings(
        deter=latent.deter.shape[-1],
        groups=groups,
        classes=classes,
        depth=1,
        mults=(*_channels(state, "decoder.image.stages")[::-1], len(state["decoder.image.norm.weight"])),
        units=len(state["decoder.vector.layers.0.linear.bias"]),
        blocks=len(state["decoder.image.deter_to_space.weight"]),
        kernel=state["decoder.image.out.weight"].shape[-1],
    )
    places, keys = _places(target)
    decoder = Decoder(places, settings)
    load(decoder, {name.removeprefix("decoder."): array for name, array in state.items()})
    image = decoder.image(latent).sigmoid()
    close(image, g["dec_pred.image"])
    close((image - target["image"].float() / 255).square().sum((-3, -2, -1)), g["dec_loss.image"])
    vector = decoder.vector(latent)
    error = (vector - d.symlog(_vector(target, keys))).square()
    for key, entries in keys.items():
        close(vector[..., entries].view_as(target[key]), g[f"dec_pred.{key}"])
        close(error[..., entries].sum(-1), g[f"dec_loss.{key}"])


# --- recurrent model ---------------------------------------------------------------------------


@pytest.fixture
def rssm():
    g = golden("rssm")
    rssm = RSSM(world_settings(g.metadata), actions=g["obs_action"].shape[-1], tokens=g["obs_tokens"].shape[-1])
    state = our_state(g.under("params."))
    load(rssm, {name.removeprefix("rssm."): array for name, array in state.items()})
    return rssm


def test_core(rssm):
    g = golden("rssm")
    close(rssm.core(Latent(g["core_deter"], g["core_stoch"]), g["core_action"]), g["core_next_deter"])


def _observe(rssm, tokens):
    g = golden("rssm")
    start = Latent(g["obs_init_deter"], g["obs_init_stoch"])
    rows = tokens, g["obs_action"], g["obs_is_first"].bool(), g["obs_sample_uniform"]
    return observe_sequence(rssm, Execution(), start, *rows)


def test_observe(rssm):
    g = golden("rssm")
    observed = _observe(rssm, g["obs_tokens"])
    close(observed.latents.deter, g["obs_deter"])
    assert torch.equal(observed.latents.stoch.argmax(-1).int(), g["obs_sample_index"])
    close(observed.posterior, g["obs_post_logits"])
    close(observed.prior, g["obs_prior_logits"])
    close(observed.latents.deter[:, -1], g["obs_final_deter"])
    assert torch.equal(observed.latents.stoch[:, -1].detach(), g["obs_final_stoch"])
    losses = rssm.losses(observed)
    close(losses["dyn"], g["obs_dyn"])
    close(losses["rep"], g["obs_rep"])
    p, q = (d.mixed_probs(logits, g.metadata["unimix"]) for logits in (observed.posterior, observed.prior))
    close(d.categorical_kl(p, q).sum(-1), g["obs_kl_raw"])


def test_gradients_of_observe(rssm):
    g = golden("rssm")
    tokens = g["obs_tokens"].clone().requires_grad_()
    observed = _observe(rssm, tokens)
    losses = rssm.losses(observed)
    total = losses["dyn"].mean() + 0.1 * losses["rep"].mean()
    total = total + (g["grad_deter_weight"] * observed.latents.deter).sum()
    total = total + (g["grad_stoch_weight"] * observed.latents.stoch).sum()
    close(total, g["grad_scalar"])
    total.backward()
    close(tokens.grad, g["grad_tokens"], rtol=0, of_largest=1e-4)
    gradients = {f"rssm.{name}": p.grad for name, p in rssm.named_parameters()}
    expected = our_state(g.under("grad."))
    assert gradients.keys() == expected.keys()
    for name, gradient in gradients.items():
        close(gradient, expected[name], rtol=0, of_largest=1e-4)


def test_imagine(rssm):
    g = golden("rssm")
    latent = Latent(g["img_init_deter"], g["img_init_stoch"])
    for h in range(g["img_action"].shape[1]):
        latent = rssm.imagine_step(latent, g["img_action"][:, h], g["img_sample_uniform"][:, h])
        close(latent.deter, g["img_deter"][:, h])
        close(rssm.prior(latent.deter), g["img_prior_logits"][:, h])
        assert torch.equal(latent.stoch.argmax(-1).int(), g["img_sample_index"][:, h])


# --- heads and returns -------------------------------------------------------------------------


def _head(discrete):
    """The head of the golden file."""
    g, actor = golden("heads_returns"), "discrete_actor." if discrete else "continuous_actor."
    state = {}
    for part in ("reward.", "continue.", "critic.", "slow_critic.", actor):
        renamed = "actor." if part == actor else part
        state |= our_state({renamed + key: value for key, value in g.under(part).items()})
    entries = tuple(f"a{i}" for i in range(len(state["actor.logits.bias" if discrete else "actor.mean.bias"])))
    places = SpaceLayout(vector=("x",), **{"discrete": (("a", len(entries)),)} if discrete else {"continuous": entries})
    inputs, classes = g["feat"].shape[-1], 2
    # of the world a head sees nothing but the length of its feature
    settings = WorldSettings(deter=inputs - classes, groups=1, classes=classes, blocks=1, units=g.metadata["units"])
    discount, lam = g["lr_disc_lam"].tolist()
    numbers = {"horizon": g["im_ret"].shape[-1], "discount_horizon": round(1 / (1 - discount)), "lam": lam}
    head = ActorCritic(head_context(World(places, settings), ActorCriticSettings(**numbers)))
    state |= {name: head.state_dict()[name] for name in ("return_scale.low", "return_scale.high")}
    load(head, state)
    return head


def test_head_networks():
    g, head = golden("heads_returns"), _head(discrete=False)
    for name, network in (
        ("reward", head.reward),
        ("critic", head.critic),
        ("slow_critic", head.slow_critic),
    ):
        logits = network(g["feat"])
        close(logits, g[f"{name}_logits"])
        close(network.loss(logits, g["reward_target"]), g[f"{name}_loss"])
        magnitude = (logits.softmax(-1) * network.bins.abs()).sum(-1)
        assert ((network.mean(logits) - g[f"{name}_pred"]).abs() <= 1e-5 * magnitude).all()
    logit = head.continues(g["feat"])
    close(logit, g["continue_logit"])
    close(logit.sigmoid(), g["continue_prob"])
    close(d.bernoulli_loss(logit, g["continue_target"]), g["continue_loss"])


def test_actors():
    g = golden("heads_returns")
    policy = _head(discrete=False).actor(g["feat"])
    close(policy.mean, g["actor_cont_mean"])
    close(policy.std, g["actor_cont_std"])
    close(policy.log_prob(g["action_cont"]), g["actor_cont_log_prob"])
    close(policy.entropy(), g["actor_cont_entropy"])
    policy = _head(discrete=True).actor(g["feat"])
    close(policy.log_probs[0], g["actor_disc_logits"].log_softmax(-1))
    close(
        policy.log_prob(F.one_hot(g["action_disc"].long(), policy.log_probs[0].shape[-1]).float()),
        g["actor_disc_log_prob"],
    )
    close(policy.entropy(), g["actor_disc_entropy"])


def test_plain_categorical_of_the_discrete_actor():
    g = golden("distributions")
    log_probs = g["cat_logits"].log_softmax(-1)
    close(log_probs.exp(), g["cat_probs"])
    close((log_probs * F.one_hot(g["cat_action"].long(), log_probs.shape[-1])).sum(-1), g["cat_log_prob"])
    close(-(log_probs.exp() * log_probs).sum(-1), g["cat_entropy"])


def test_lambda_return():
    g = golden("heads_returns")
    discount, trace = g["lr_disc_lam"].tolist()
    close(lambda_return(g["lr_rew"], g["lr_term"], g["lr_last"], g["lr_boot"], discount, trace), g["lr_ret"])
    no_last = torch.zeros_like(g["lr_last"])
    close(lambda_return(g["lr_rew"], g["lr_soft_term"], no_last, g["lr_boot"], 1.0, trace), g["lr_soft_ret"])


@pytest.mark.parametrize("discrete", [False, True])
def test_imagination_losses_over_several_updates(discrete):
    g, head = golden("heads_returns"), _head(discrete)
    kind, actor = ("disc", "discrete_actor.") if discrete else ("cont", "continuous_actor.")
    for update in range(len(g["im_feat"])):
        action = g[f"im_act_{kind}"][update]
        action = F.one_hot(action.long(), head.actor.block_sizes[0]).float() if discrete else action
        imagined = ImaginedTrajectory(g["im_feat"][update], action[:, : head.settings.horizon])
        policy = head.actor(imagined.feature)
        close(policy.log_prob(action), g[f"im_{kind}_logpi"][update])
        close(policy.entropy(), g[f"im_{kind}_ent"][update])
        everywhere = torch.ones(len(action), dtype=torch.bool)
        dream = head.trajectory_losses(imagined, g["im_rew"][update], g["im_con"][update], everywhere)
        value = head.critic.mean(head.critic(imagined.feature))
        close(value, g["im_value_pred"][update])
        close(head.slow_critic.mean(head.slow_critic(imagined.feature)), g["im_slow_pred"][update])
        close(dream.returns, g["im_ret"][update])
        close(dream.policy, g[f"im_{kind}_policy"][update], rtol=2e-5)
        close(dream.value, g["im_value"][update], rtol=2e-5)
        Head.after_update(head, dream.new_state)
        close(head.return_scale.low, g["im_low"][update])
        close(head.return_scale.high, g["im_high"][update])
        scale = (head.return_scale.high - head.return_scale.low).clamp(min=1)
        close(scale, g["im_scale"][update])
        close((dream.returns - value[:, :-1]) / scale, g["im_adv"][update])
        close(g["im_con"][update].cumprod(1), g["im_weight"][update])
        if update == 2:
            (dream.policy.mean() + dream.value.mean()).backward()
            expected = {
                name.replace(actor, "actor.", 1): value
                for name, value in g.under("im_grad.").items()
                if name.startswith(("critic.", actor))
            }
            _check_gradients(head, expected)


def _check_gradients(module, expected):
    gradients = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
    expected = our_state(expected)
    assert gradients.keys() == expected.keys()
    for name, gradient in gradients.items():
        close(gradient, expected[name], rtol=0, of_largest=1e-4)


def test_replay_value_loss():
    g, head = golden("heads_returns"), _head(discrete=False)
    feature = g["rp_feat"].clone().requires_grad_()
    last = g["rp_last"].bool()
    rows = HeadBatch(None, None, g["rp_rew"], None, last, g["rp_term"].bool(), None)
    returns = head.replay_returns(rows, g["rp_boot"])
    close(returns, g["rp_ret"])
    loss = head.replay_value_loss(feature, last, returns)
    close(loss, g["rp_loss"], rtol=2e-5)
    close(head.critic.mean(head.critic(feature)), g["rp_value_pred"])
    close(head.slow_critic.mean(head.slow_critic(feature)), g["rp_slow_pred"])
    loss.mean().backward()
    close(feature.grad, g["rp_grad_feat"], rtol=0, of_largest=1e-4)
    _check_gradients(head, g.under("rp_grad."))


# --- optimiser ---------------------------------------------------------------------------------


def test_optimizer():
    g = golden("optimizer")
    settings = optimizer_settings(g.metadata)
    parameters = {name: value.clone().requires_grad_() for name, value in g.under("start.").items()}
    optimizer = LaProp(parameters, settings)
    for i, rate in enumerate(g["learning_rates"], start=1):
        for name, parameter in parameters.items():
            parameter.grad = g[f"grad{i}.{name}"].clone()
        before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        optimizer.step(optimizer.gradient_norms(), Execution())
        for name, parameter in parameters.items():
            torch.testing.assert_close(parameter.detach(), g[f"after{i}.{name}"], rtol=0, atol=2e-4 * settings.lr)
            assert parameter.grad is None
            if rate == 0:
                assert torch.equal(parameter.detach(), before[name])
    state = optimizer.state_dict()
    for name in parameters:
        close(state[f"square/{name}"], g[f"nu_final.{name}"], rtol=1e-4)
        close(state[f"momentum/{name}"], g[f"mu_final.{name}"], rtol=1e-4)


# --- sizes -------------------------------------------------------------------------------------

CONFIGURATIONS = {name: entry for name, entry in parameter_counts().items() if "sizes" in entry}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_parameter_counts(name, monkeypatch):
    expected = CONFIGURATIONS[name]
    sizes = expected["sizes"]
    set_constant(monkeypatch, "BINS", sizes["bins"])
    set_constant(monkeypatch, "VECTOR_LAYERS", sizes["vector_layers"])
    settings = world_settings(sizes)
    if preset := re.match(r"size(\w+?)_", name):
        official = WorldSettings(size=preset[1], vectors="natural")
        assert official == settings.model_copy(update={"size": preset[1]})
    observation, (kind, count) = dict(expected["observation"]), expected["action"]
    image = observation.pop("image", None)
    places = SpaceLayout(
        image=image and tuple(image),
        vector=tuple(f"v{i}" for i in range(sum(math.prod(shape) for shape in observation.values()))),
        continuous=tuple(f"a{i}" for i in range(count)) if kind == "cont" else (),
        discrete=(("a", count),) if kind == "disc" else (),
    )
    with torch.device("meta"):
        world = World(places, settings)
    head = ActorCritic(head_context(world, ActorCriticSettings()))
    parts = {**dict(world.named_children()), **dict(head.named_children())}
    counts = {part: _count(parts[our_name(f"{part}.").removesuffix(".")]) for part in expected["modules"]}
    assert counts == expected["modules"]
    assert _count(world) + _count(head) == expected["trainable_total"]
    listed = parameter_counts().get(f"{name}_parameters", [])
    tensors = {entry["name"]: torch.empty(entry["shape"], device="meta") for entry in listed}
    if tensors:
        ours = {n: p.shape for m in (world, head) for n, p in m.named_parameters()}
        official = our_state({n: x for n, x in tensors.items() if not n.startswith("return_norm.")})
        assert ours == {n: x.shape for n, x in official.items()}


def _count(module):
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
