"""Writes a golden set of other widths with the platform's own modules, to see that tests type in no size.

Its numbers come from the code that they would check: they prove nothing about the algorithm.
"""

from pathlib import Path

import torch
from golden_arrays import flags, gradients_of, image, one_hot, parameters_of, randomize, save, under
from golden_format import set_layers, world_settings
from golden_writer_agent import HYPER, write_agent, write_training
from golden_writer_heads import write_heads_returns, write_parameter_counts

from manyheads.environment.layout import SpaceLayout
from manyheads.execution.eager import Execution
from manyheads.learning.optimizer import LaProp
from manyheads.settings import OptimizerSettings
from manyheads.world import distributions as d
from manyheads.world.decoder import Decoder, DecoderStage
from manyheads.world.encoder import Encoder, EncoderStage
from manyheads.world.networks import MLP, BlockLinear, Convolution, max_pool
from manyheads.world.rssm import RSSM, Latent, observe_sequence
from manyheads.world.sizes import WorldSettings

RSSM_SIZES = {"deter": 20, "hidden": 9, "stoch": 3, "classes": 4, "blocks": 5, "free_nats": 0.5, "unimix": 0.04}
RSSM_SIZES |= {"prior_layers": 3, "posterior_layers": 2}


def write_transforms(folder: Path) -> None:
    """Functions and bins, for 9 logits."""
    x, small, large = torch.linspace(-1e6, 1e6, 31), torch.linspace(-9, 9, 23), torch.tensor([-95.0, 80.0, 95.0])
    g = {f"symlog_{end}": values for end, values in (("in", x), ("out", d.symlog(x)))}
    for name, values in (("symexp", small), ("symexp_big", large)):
        g |= {f"{name}_in": values, f"{name}_out": d.symexp(values)}
    bins = d.two_hot_bins()
    logits, target = torch.randn(9, len(bins), requires_grad=True), 10 * torch.randn(9)
    loss = d.two_hot_loss(logits, d.two_bins(target, bins))
    loss.mean().backward()
    half = torch.randn(3, len(bins))
    symmetric = half + half.flip(-1)
    g |= {"twohot_bins": bins, "twohot_logits": logits, "twohot_target": target, "twohot_loss": loss}
    g |= {"twohot_loss_grad": logits.grad, "twohot_weights": d.two_hot(d.two_bins(target, bins))}
    g |= {"twohot_pred": d.two_hot_mean(logits, bins), "twohot_pred_magnitude": logits.softmax(-1) @ bins.abs()}
    g |= {"twohot_zero_logits": symmetric, "twohot_zero_pred": d.two_hot_mean(symmetric, bins)}
    g["twohot_zero_loss"] = d.two_hot_loss(symmetric, d.two_bins(torch.zeros(3), bins))
    save(folder, "transforms", g)


def write_distributions(folder: Path, unimix: float) -> None:
    """5 rows: 2 groups of 7 classes, 4 continuous actions, 6 choices, images of 4 x 2 pixels."""
    p_logits, q_logits = (torch.randn(5, 2, 7, requires_grad=True) for _ in range(2))
    p, q = (d.mixed_probs(logits, unimix) for logits in (p_logits, q_logits))
    event, sample, weight = one_hot(5, 2, 7), one_hot(5, 2, 7), torch.randn(5, 2, 7)
    kl = d.categorical_kl(p, q)
    by_p, by_q = torch.autograd.grad(kl.sum(), (p_logits, q_logits), retain_graph=True)
    through = torch.autograd.grad((d.straight_through(sample, p) * weight).sum(), p_logits)[0]
    g = {"logits_p": p_logits, "logits_q": q_logits, "probs_p": p, "probs_q": q, "logprobs_p": p.log(), "event": event}
    by_group = {"log_prob": (p.log() * event).sum(-1), "entropy": -(p * p.log()).sum(-1), "kl": kl}
    for name, values in by_group.items():
        g |= {f"{name}_groups": values, name: values.sum(-1)}
    g |= {"kl_grad_p": by_p, "kl_grad_q": by_q}
    g = under("oh_", g | {"sample": sample, "st_weight": weight, "st_grad": through})
    raw, spread, action = torch.randn(3, 5, 4)
    mean, std = d.bounded_normal(raw, spread)
    log_prob, entropy = d.normal_log_prob(action, mean, std), d.normal_entropy(std)
    g |= under("bn_", {"raw_mean": raw, "raw_std": spread, "action": action, "mean": mean, "pred": mean, "std": std})
    g |= {"bn_log_prob_dims": log_prob, "bn_log_prob": log_prob.sum(-1)}
    g |= {"bn_entropy_dims": entropy, "bn_entropy": entropy.sum(-1)}
    logit, targets = torch.randn(8), torch.tensor([0.0, 0.25, 0.5, 1.0])
    loss = d.bernoulli_loss(logit[:, None].expand(8, 4), targets.expand(8, 4))
    g |= {"ber_logit": logit, "ber_targets": targets, "ber_loss": loss, "ber_prob1": logit.sigmoid()}
    g["ber_pred"] = (logit > 0).byte()
    g |= {"ber_log_prob1": -loss[:, 3], "ber_log_prob0": -loss[:, 0]}
    logits, choice = torch.randn(5, 6), torch.randint(6, (5,))
    logs = logits.log_softmax(-1)
    g |= {"cat_logits": logits, "cat_action": choice.int(), "cat_probs": logs.exp()}
    g |= {"cat_log_prob": logs.gather(-1, choice[:, None])[:, 0], "cat_entropy": -(logs.exp() * logs).sum(-1)}
    output, target = torch.randn(2, 5, 3)
    g |= {"slmse_output": output, "slmse_target": target, "slmse_pred": output}
    g["slmse_loss"] = (output - d.symlog(target)).square().sum(-1)
    raw, pixels = torch.randn(3, 4, 2, 1), image(3, 4, 2, 1)
    error = (raw.sigmoid() - pixels / 255).square()
    g |= {"img_raw": raw, "img_target": pixels, "img_pred": raw.sigmoid(), "img_loss": error.sum((-3, -2, -1))}
    save(folder, "distributions", g)


def write_layers(folder: Path) -> None:
    """3 layers of 9, 4 blocks, kernels of 3; images of 8 x 16, three keys of 2, 1 and 4 entries."""
    mlp, x, weight = MLP(5, 9, layers=3), torch.randn(4, 5, requires_grad=True), torch.randn(4, 9)
    randomize(mlp)
    g = parameters_of(mlp)
    g = under("mlp.", g) | {"mlp_in": x, "mlp_out": mlp(x), "mlp_grad_weight": weight, "mlp_layer0_act": mlp[0](x)}
    g |= {"mlp_layer0_linear": mlp[0].linear(x), "mlp_layer0_norm": mlp[0].norm(mlp[0].linear(x))}
    (mlp(x) * weight).sum().backward()
    own = gradients_of(mlp)
    g |= {"mlp_grad_in": x.grad, "mlp_grad_layer0_kernel": own["layer0.kernel"]}
    g["mlp_grad_layer0_norm_scale"] = own["layer0.norm_scale"]
    block, x = BlockLinear(8, 12, blocks=4), torch.randn(3, 8)
    randomize(block)
    g |= under("block.", parameters_of(block)) | {"block_in": x, "block_out": block(x.view(3, 4, 2)).flatten(-2)}
    pixels, stage, later = image(3, 4, 8, 1), EncoderStage(1, 4, kernel=3), DecoderStage(4, 7, kernel=3)
    plain = Convolution(4, 7, kernel=3)
    randomize(stage)
    randomize(later)
    plain.load_state_dict(later.conv.state_dict())
    x = pixels / 255 - 0.5
    act, pool = stage(x), max_pool(stage.conv(x))
    doubled = act.repeat_interleave(2, 1).repeat_interleave(2, 2)
    g |= under("conv.", {name.removeprefix("conv."): array for name, array in parameters_of(stage).items()})
    g |= {"conv_img": pixels, "conv_in": x, "conv_out": stage.conv(x), "conv_pool": pool, "conv_act": act}
    g |= under("deconv.", {name.removeprefix("conv."): array for name, array in parameters_of(later).items()})
    g |= {"conv_norm": stage.norm(pool), "deconv_up": doubled, "deconv_conv": plain(doubled), "deconv_act": later(act)}
    save(folder, "layers", g | _encoder_and_decoder())


def _encoder_and_decoder() -> dict[str, torch.Tensor]:
    places = SpaceLayout(image=(8, 16, 1), vector=tuple("abcdefg"), continuous=("a",))
    keys = {"arms": slice(0, 2), "depth": slice(2, 3), "legs": slice(3, 7)}
    encoder = Encoder(places, WorldSettings(depth=3, mults=(2, 3, 5), units=6, kernel=3))
    settings = WorldSettings(deter=24, groups=2, classes=5, depth=8, mults=(3, 1, 2), units=7, kernel=3)
    decoder = Decoder(places, settings)
    randomize(encoder)
    randomize(decoder)
    set_layers(decoder.vector.layers, 2)

    def by_key(vector: torch.Tensor) -> dict[str, torch.Tensor]:
        return {key: vector[..., 2] if key == "depth" else vector[..., own] for key, own in keys.items()}

    g, vector, pixels = {}, torch.randn(3, 4, 7), image(3, 4, 8, 16, 1)
    g |= under("enc_obs.", by_key(vector) | {"image": pixels}) | {"enc_tokens": encoder(pixels, vector)}
    g |= under("enc_params.", parameters_of(encoder, "encoder."))
    latent = Latent(torch.randn(3, 4, 24), one_hot(3, 4, 2, 5))
    parameters = parameters_of(decoder, "decoder.")
    for end in ("kernel", "bias"):
        joined = parameters.pop(f"decoder.vector.out.vector.{end}")
        parameters |= {f"decoder.vector.out.{key}.{end}": joined[..., own] for key, own in keys.items()}
    drawn, predicted = decoder.image(latent).sigmoid(), decoder.vector(latent)
    error = (predicted - d.symlog(vector)).square()
    losses = {key: error[..., own].sum(-1) for key, own in keys.items()}
    losses["image"] = (drawn - pixels / 255).square().sum((-3, -2, -1))
    g |= under("dec_params.", parameters) | {"dec_deter": latent.deter, "dec_stoch": latent.stoch}
    g |= under("dec_target.", by_key(vector) | {"image": pixels}) | under("dec_loss.", losses)
    return g | under("dec_pred.", by_key(predicted) | {"image": drawn})


def write_rssm(folder: Path, **metadata: float) -> None:
    """2 sequences of 5 rows with 7 tokens and 2 actions; 3 imagined steps."""
    settings = world_settings(metadata)
    rssm = RSSM(settings, actions=2, tokens=7)
    set_layers(rssm.prior_layers, int(metadata["prior_layers"]))
    set_layers(rssm.posterior_layers, int(metadata["posterior_layers"]))
    randomize(rssm)

    def latent(n: int) -> Latent:
        return Latent(torch.randn(n, settings.deter), one_hot(n, settings.groups, settings.classes))

    core, start, action = latent(3), latent(2), 2 * torch.randn(3, 2)
    g = under("params.", parameters_of(rssm, "rssm.")) | {"core_deter": core.deter, "core_stoch": core.stoch}
    g |= {"core_action": action, "core_next_deter": rssm.core(core, action)}
    tokens, uniform = torch.randn(2, 5, 7, requires_grad=True), torch.rand(2, 5, settings.groups)
    action, first = torch.randn(2, 5, 2), flags(2, 5)
    observed = observe_sequence(rssm, Execution(), start, tokens, action, first.bool(), uniform)
    deter, stoch = observed.latents
    losses, by_deter, by_stoch = rssm.losses(observed), torch.randn_like(deter), torch.randn_like(stoch)
    total = losses["dyn"].mean() + 0.1 * losses["rep"].mean() + (by_deter * deter).sum() + (by_stoch * stoch).sum()
    total.backward()
    p, q = (d.mixed_probs(logits, settings.unimix) for logits in (observed.posterior, observed.prior))
    own = {"init_deter": start.deter, "init_stoch": start.stoch, "tokens": tokens, "action": action, "is_first": first}
    own |= {"sample_uniform": uniform, "sample_index": stoch.argmax(-1).int(), "deter": deter, **losses}
    own |= {"post_logits": observed.posterior, "prior_logits": observed.prior, "kl_raw": d.categorical_kl(p, q).sum(-1)}
    g |= under("obs_", own | {"final_deter": deter[:, -1], "final_stoch": stoch[:, -1]})
    g |= {
        "grad_deter_weight": by_deter,
        "grad_stoch_weight": by_stoch,
        "grad_scalar": total,
        "grad_tokens": tokens.grad,
    }
    g |= under("grad.", gradients_of(rssm, "rssm."))
    state, action, uniform, steps = start, torch.randn(2, 3, 2), torch.rand(2, 3, settings.groups), []
    for h in range(3):
        state = rssm.imagine_step(state, action[:, h], uniform[:, h])
        steps.append((state.deter, rssm.prior(state.deter), state.stoch.argmax(-1).int()))
    deter, prior, index = (torch.stack(column, 1) for column in zip(*steps, strict=True))
    own = {"init_deter": start.deter, "init_stoch": start.stoch, "action": action, "sample_uniform": uniform}
    g |= under("img_", own | {"deter": deter, "prior_logits": prior, "sample_index": index})
    save(folder, "rssm", g, **metadata)


def write_optimizer(folder: Path, updates: int = 4) -> None:
    """Parameters of four shapes."""
    metadata = {"lr": 0.02, "warmup": 2, "agc": 0.2, "agc_floor": 1e-2, "beta1": 0.8, "beta2": 0.99, "eps": 1e-8}
    settings = OptimizerSettings(**{"agc_pmin" if n == "agc_floor" else n: x for n, x in metadata.items()})
    shapes = {"matrix": (3, 4), "vector": (5,), "block": (2, 2, 3), "conv": (3, 3, 1, 2)}
    parameters = {name: torch.randn(shape, requires_grad=True) for name, shape in shapes.items()}
    optimizer, g = LaProp(parameters, settings), {}
    g |= under("start.", {name: p.detach().clone() for name, p in parameters.items()})
    for i in range(1, updates + 1):
        for p in parameters.values():
            p.grad = torch.randn_like(p)
        g |= under(f"grad{i}.", {name: p.grad.clone() for name, p in parameters.items()})
        optimizer.step(optimizer.gradient_norms(), Execution())
        g |= under(f"after{i}.", {name: p.detach().clone() for name, p in parameters.items()})
    state = optimizer.state_dict()
    for name in parameters:
        excess = [
            g[f"grad{i}.{name}"].norm() / (settings.agc * g[before].norm().clamp(min=settings.agc_pmin))
            for i, before in enumerate([f"start.{name}", *(f"after{i}.{name}" for i in range(1, updates))], start=1)
        ]
        g[f"clip_factor.{name}"] = 1 / torch.stack(excess).clamp(min=1)
        g |= {f"nu_final.{name}": state[f"square/{name}"], f"mu_final.{name}": state[f"momentum/{name}"]}
    g["learning_rates"] = settings.lr * (torch.arange(updates) / settings.warmup).clamp(max=1)
    save(folder, "optimizer", g, weight_decay=0, **metadata)


def write_golden(folder: Path, seed: int = 0) -> None:
    """A whole set."""
    torch.manual_seed(seed)
    write_transforms(folder)
    write_distributions(folder, RSSM_SIZES["unimix"])
    write_layers(folder)
    write_rssm(folder, **RSSM_SIZES)
    write_heads_returns(folder)
    write_optimizer(folder)
    for kind in HYPER:
        write_agent(folder, kind)
        write_training(folder, kind)
    write_parameter_counts(folder)
