"""Functions, layers, recurrent model, returns and optimiser against the official code's own numbers."""

import pytest
import torch
from golden_format import close, golden, our_name, our_state, parameter_counts
from small_agent import head_context
from torch.nn import functional as F

from manyheads.environment.layout import SpaceLayout
from manyheads.execution.eager import Execution
from manyheads.heads.actor_critic import ActorCritic, ActorCriticSettings
from manyheads.heads.contract import Head, HeadBatch
from manyheads.heads.imagination import ImaginedTrajectory
from manyheads.heads.returns import lambda_return
from manyheads.learning.optimizer import LaProp
from manyheads.settings import OptimizerSettings
from manyheads.world import distributions as d
from manyheads.world.decoder import Decoder, DecoderStage
from manyheads.world.encoder import Encoder, EncoderStage
from manyheads.world.model import World
from manyheads.world.networks import MLP, BlockLinear, Convolution
from manyheads.world.rssm import RSSM, Latent, observe_sequence
from manyheads.world.sizes import WorldSettings

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
    assert bins[127] == 0


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
    assert torch.equal(d.two_hot_mean(g["twohot_zero_logits"], bins), g["twohot_zero_pred"])
    close(d.two_hot_loss(g["twohot_zero_logits"], d.two_bins(torch.zeros(5), bins)), g["twohot_zero_loss"])


def test_categorical_latents():
    g = golden("distributions")
    p_logits, q_logits = (g[f"oh_logits_{x}"].clone().requires_grad_() for x in "pq")
    p, q = d.mixed_probs(p_logits, 0.01), d.mixed_probs(q_logits, 0.01)
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


def test_straight_through_gradient():
    g = golden("distributions")
    logits = g["oh_logits_p"].clone().requires_grad_()
    sample = d.straight_through(g["oh_sample"], d.mixed_probs(logits, 0.01))
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
    close(d.bernoulli_loss(logit[:, None].expand(-1, 3), g["ber_targets"].expand(9, -1)), g["ber_loss"])
    close(-d.bernoulli_loss(logit, torch.ones(9)), g["ber_log_prob1"])
    close(-d.bernoulli_loss(logit, torch.zeros(9)), g["ber_log_prob0"])
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
    mlp, x = MLP(7, 12, layers=2), g["mlp_in"].clone().requires_grad_()
    mlp.load_state_dict(our_state(g.under("mlp.")))
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
    layer = BlockLinear(24, 40, blocks=8)
    layer.load_state_dict({"weight": g["block.kernel"], "bias": g["block.bias"]})
    close(layer(g["block_in"].unflatten(-1, (8, 3))).flatten(-2), g["block_out"])


def test_image_stages():
    g = golden("layers")
    stage = EncoderStage(3, 6, kernel=5)
    stage.load_state_dict(_stage(g, "conv"))
    x = g["conv_img"].float() / 255 - 0.5
    close(x, g["conv_in"])
    close(stage.conv(x), g["conv_out"])
    close(stage(x), g["conv_act"])
    stage = DecoderStage(6, 5, kernel=5)
    stage.load_state_dict(_stage(g, "deconv"))
    plain = Convolution(6, 5, kernel=5)
    plain.load_state_dict(stage.conv.state_dict())
    close(plain(g["deconv_up"]), g["deconv_conv"])
    close(stage.conv(g["conv_act"]), g["deconv_conv"])
    close(stage(g["conv_act"]), g["deconv_act"])


def _stage(g, name):
    weight = g[f"{name}.kernel"].permute(3, 2, 0, 1)
    return {"conv.weight": weight, "conv.bias": g[f"{name}.bias"], "norm.weight": g[f"{name}.norm_scale"]}


LAYER_PLACES = SpaceLayout(image=(16, 16, 3), vector=tuple("abcdef"), continuous=("a",))
VECTOR_KEYS = {"angles": slice(0, 3), "height": slice(3, 4), "velocity": slice(4, 6)}


def _vector(arrays):
    return torch.cat([arrays["angles"], arrays["height"][..., None], arrays["velocity"]], -1)


def test_encoder():
    g = golden("layers")
    encoder = Encoder(LAYER_PLACES, WorldSettings(depth=4, mults=(2, 3), units=10))
    state = our_state(g.under("enc_params."))
    encoder.load_state_dict({name.removeprefix("encoder."): array for name, array in state.items()})
    observation = g.under("enc_obs.")
    close(encoder(observation["image"], _vector(observation)), g["enc_tokens"])


def test_decoder():
    g = golden("layers")
    settings = WorldSettings(deter=16, groups=3, classes=4, depth=8, mults=(2, 3), units=10)
    decoder = Decoder(LAYER_PLACES, settings)
    parameters = g.under("dec_params.")
    for end in ("kernel", "bias"):
        keys = [f"decoder.vector.out.{key}.{end}" for key in VECTOR_KEYS]
        parameters[f"decoder.vector.out.vector.{end}"] = torch.cat([parameters.pop(key) for key in keys], -1)
    state = our_state(parameters)
    decoder.load_state_dict({name.removeprefix("decoder."): array for name, array in state.items()})
    latent = Latent(g["dec_deter"], g["dec_stoch"])
    image = decoder.image(latent).sigmoid()
    close(image, g["dec_pred.image"])
    close((image - g["dec_target.image"].float() / 255).square().sum((-3, -2, -1)), g["dec_loss.image"])
    vector = decoder.vector(latent)
    error = (vector - d.symlog(_vector(g.under("dec_target.")))).square()
    for key, places in VECTOR_KEYS.items():
        close(vector[..., places].squeeze(-1) if key == "height" else vector[..., places], g[f"dec_pred.{key}"])
        close(error[..., places].sum(-1), g[f"dec_loss.{key}"])


# --- recurrent model ---------------------------------------------------------------------------


@pytest.fixture
def rssm():
    g = golden("rssm")
    settings = WorldSettings(deter=32, hidden=12, groups=4, classes=6)
    rssm = RSSM(settings, actions=3, tokens=10)
    state = our_state(g.under("params."))
    rssm.load_state_dict({name.removeprefix("rssm."): array for name, array in state.items()})
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
    p, q = (d.mixed_probs(logits, 0.01) for logits in (observed.posterior, observed.prior))
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
    for h in range(4):
        latent = rssm.imagine_step(latent, g["img_action"][:, h], g["img_sample_uniform"][:, h])
        close(latent.deter, g["img_deter"][:, h])
        close(rssm.prior(latent.deter), g["img_prior_logits"][:, h])
        assert torch.equal(latent.stoch.argmax(-1).int(), g["img_sample_index"][:, h])


# --- heads and returns -------------------------------------------------------------------------


def _head(discrete):
    """The head of the golden file: features of 20 numbers, layers of 16."""
    g = golden("heads_returns")
    actions = {"discrete": (("a", 4),)} if discrete else {"continuous": ("a", "b", "c")}
    places = SpaceLayout(vector=("x",), **actions)
    world = World(places, WorldSettings(deter=8, hidden=8, groups=3, classes=4, units=16))
    head = ActorCritic(head_context(world, ActorCriticSettings(horizon=5)))
    state = {name: head.state_dict()[name] for name in ("return_scale.low", "return_scale.high")}
    actor = "discrete_actor." if discrete else "continuous_actor."
    for part in ("reward.", "continue.", "critic.", "slow_critic.", actor):
        renamed = "actor." if part == actor else part
        state |= our_state({renamed + key: value for key, value in g.under(part).items()})
    head.load_state_dict(state)
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
    close(policy.log_prob(F.one_hot(g["action_disc"].long(), 4).float()), g["actor_disc_log_prob"])
    close(policy.entropy(), g["actor_disc_entropy"])


def test_plain_categorical_of_the_discrete_actor():
    g = golden("distributions")
    log_probs = g["cat_logits"].log_softmax(-1)
    close(log_probs.exp(), g["cat_probs"])
    close((log_probs * F.one_hot(g["cat_action"].long(), 5)).sum(-1), g["cat_log_prob"])
    close(-(log_probs.exp() * log_probs).sum(-1), g["cat_entropy"])


def test_lambda_return():
    g = golden("heads_returns")
    discount, trace = g["lr_disc_lam"].tolist()
    close(lambda_return(g["lr_rew"], g["lr_term"], g["lr_last"], g["lr_boot"], discount, trace), g["lr_ret"])
    no_last = torch.zeros_like(g["lr_last"])
    close(lambda_return(g["lr_rew"], g["lr_soft_term"], no_last, g["lr_boot"], 1.0, trace), g["lr_soft_ret"])


@pytest.mark.parametrize("discrete", [False, True])
def test_imagination_losses_over_five_updates(discrete):
    g, head = golden("heads_returns"), _head(discrete)
    kind, actor = ("disc", "discrete_actor.") if discrete else ("cont", "continuous_actor.")
    for update in range(5):
        action = g[f"im_act_{kind}"][update]
        action = F.one_hot(action.long(), 4).float() if discrete else action
        imagined = ImaginedTrajectory(g["im_feat"][update], action[:, :5])
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
        close((dream.returns - value[:, :5]) / scale, g["im_adv"][update])
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
    m = g.metadata
    settings = OptimizerSettings(lr=float(m["lr"]), warmup=int(m["warmup"]), eps=float(m["eps"]))
    parameters = {name: value.clone().requires_grad_() for name, value in g.under("start.").items()}
    optimizer = LaProp(parameters, settings)
    for i in range(1, 7):
        for name, parameter in parameters.items():
            parameter.grad = g[f"grad{i}.{name}"].clone()
        before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
        optimizer.step(optimizer.gradient_norms(), Execution())
        for name, parameter in parameters.items():
            torch.testing.assert_close(parameter.detach(), g[f"after{i}.{name}"], rtol=0, atol=2e-4 * settings.lr)
            assert parameter.grad is None
            if g["learning_rates"][i - 1] == 0:
                assert torch.equal(parameter.detach(), before[name])
    state = optimizer.state_dict()
    for name in parameters:
        close(state[f"square/{name}"], g[f"nu_final.{name}"], rtol=1e-4)
        close(state[f"momentum/{name}"], g[f"mu_final.{name}"], rtol=1e-4)


# --- sizes -------------------------------------------------------------------------------------

CONFIGURATIONS = ["size1m_vector24_cont6", "size12m_vector24_cont6", "size12m_image64_disc18"]


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_parameter_counts(configuration):
    expected = parameter_counts()[configuration]
    observation, (kind, count) = expected["observation"], expected["action"]
    places = SpaceLayout(
        image=tuple(observation["image"]) if "image" in observation else None,
        vector=tuple(f"v{i}" for i in range(*observation.get("vector", [0]))),
        continuous=tuple(f"a{i}" for i in range(count)) if kind == "cont" else (),
        discrete=(("a", count),) if kind == "disc" else (),
    )
    settings = WorldSettings(size=configuration.split("_")[0].removeprefix("size"))
    with torch.device("meta"):
        world = World(places, settings)
    head = ActorCritic(head_context(world, ActorCriticSettings()))
    parts = {**dict(world.named_children()), **dict(head.named_children())}
    names = {"continue": "continues"}
    counts = {name: _count(parts[names.get(name, name)]) for name in expected["modules"]}
    assert counts == expected["modules"]
    assert _count(world) + _count(head) == expected["trainable_total"]
    tensors = expected_tensors(parameter_counts(), configuration, stages=3)
    if tensors:
        ours = {n: p for m in (world, head) for n, p in m.named_parameters()}
        assert ours.keys() == tensors.keys()
        assert {n: p.numel() for n, p in ours.items()} == tensors


def expected_tensors(counts, configuration, stages):
    """Sizes of all tensors by our name, the slow critic's included."""
    listed = counts.get(f"{configuration}_parameters", [])
    return {
        our_name(entry["name"], stages): int(torch.tensor(entry["shape"]).prod())
        for entry in listed
        if not entry["name"].startswith("return_norm")
    }


def _count(module):
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
