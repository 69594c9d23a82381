"""Writes the heads and the parameter counts of a golden set of other widths; see `golden_writer`."""

import json
from pathlib import Path

import torch
from golden_arrays import flags, gradients_of, official_state, parameters_of, randomize, save, under
from golden_format import set_layers, world_settings
from small_agent import head_context
from torch import Tensor
from torch.nn import functional as F

from manyheads.environment.layout import SpaceLayout
from manyheads.heads.actor_critic import ActorCritic, ActorCriticSettings
from manyheads.heads.contract import Head, HeadBatch
from manyheads.heads.imagination import ImaginedTrajectory
from manyheads.heads.returns import lambda_return
from manyheads.world import distributions as d
from manyheads.world.model import World
from manyheads.world.sizes import WorldSettings

HORIZON, UPDATES, STARTS, FEATURES, UNITS = 3, 4, 5, 13, 11
LAYERS = {"reward_layers": 2, "continue_layers": 2, "actor_layers": 2, "critic_layers": 4}


def _head(settings: ActorCriticSettings, **actions: tuple) -> ActorCritic:
    sizes = WorldSettings(deter=FEATURES - 4, groups=2, classes=2, blocks=3, units=UNITS)
    world = World(SpaceLayout(vector=("x",), **actions), sizes)
    head = ActorCritic(head_context(world, settings))
    for name, count in LAYERS.items():
        part = name.removesuffix("_layers")
        set_layers(getattr(head, "continues" if part == "continue" else part).layers, count)
    set_layers(head.slow_critic.layers, LAYERS["critic_layers"])
    randomize(head)
    return head


def write_heads_returns(folder: Path) -> None:
    """Both actors share the other parts."""
    settings = ActorCriticSettings(horizon=HORIZON, discount_horizon=50, lam=0.9)
    cont, disc = _head(settings, continuous=("a", "b")), _head(settings, discrete=(("a", 6),))
    for part in ("reward", "continues", "critic", "slow_critic"):
        getattr(disc, part).load_state_dict(getattr(cont, part).state_dict())
    own = parameters_of(cont)
    g = {name: x for name, x in own.items() if not name.startswith(("actor.", "return_norm."))}
    for kind, head in (("continuous_", cont), ("discrete_", disc)):
        g |= under(kind, parameters_of(head.actor, "actor."))
    g |= _networks(cont, disc) | _returns(settings) | _imagination(cont, disc) | _replay(cont)
    save(folder, "heads_returns", g, units=UNITS, **LAYERS)


def _networks(cont: ActorCritic, disc: ActorCritic) -> dict[str, Tensor]:
    feature, reward, live = torch.randn(4, 2, FEATURES), torch.randn(4, 2), torch.rand(4, 2)
    action, choice = torch.randn(4, 2, 2), torch.randint(6, (4, 2))
    g = {"feat": feature, "reward_target": reward, "continue_target": live}
    g |= {"action_cont": action, "action_disc": choice.int()}
    for name, network in (("reward", cont.reward), ("critic", cont.critic), ("slow_critic", cont.slow_critic)):
        logits = network(feature)
        g |= {
            f"{name}_logits": logits,
            f"{name}_loss": network.loss(logits, reward),
            f"{name}_pred": network.mean(logits),
        }
    logit = cont.continues(feature)
    g |= {"continue_logit": logit, "continue_prob": logit.sigmoid(), "continue_loss": d.bernoulli_loss(logit, live)}
    policy = cont.actor(feature)
    g |= {"actor_cont_mean": policy.mean, "actor_cont_std": policy.std, "actor_cont_entropy": policy.entropy()}
    g["actor_cont_log_prob"] = policy.log_prob(action)
    policy = disc.actor(feature)
    g |= {"actor_disc_logits": disc.actor.logits(disc.actor.layers(feature)), "actor_disc_entropy": policy.entropy()}
    return g | {"actor_disc_log_prob": policy.log_prob(F.one_hot(choice, 6).float())}


def _returns(settings: ActorCriticSettings) -> dict[str, Tensor]:
    last, term, (reward, boot), soft = flags(2, 9).float(), flags(2, 9).float(), torch.randn(2, 2, 9), torch.rand(2, 9)
    numbers = torch.tensor([settings.discount, settings.lam])
    own = {"last": last, "term": term, "rew": reward, "boot": boot, "disc_lam": numbers, "soft_term": soft}
    own["ret"] = lambda_return(reward, term, last, boot, settings.discount, settings.lam)
    own["soft_ret"] = lambda_return(reward, soft, torch.zeros_like(last), boot, 1.0, settings.lam)
    return under("lr_", own)


def _imagination(cont: ActorCritic, disc: ActorCritic) -> dict[str, Tensor]:
    shape = UPDATES, STARTS, HORIZON + 1
    feature, reward, live = torch.randn(*shape, FEATURES), 3 * torch.randn(shape), torch.rand(shape)
    actions = {"cont": torch.randn(*shape, 2), "disc": torch.randint(6, shape)}
    g = {"im_feat": feature, "im_rew": reward, "im_con": live, "im_weight": live.cumprod(2)}
    g |= {"im_act_cont": actions["cont"], "im_act_disc": actions["disc"].int()}
    everywhere = torch.ones(STARTS, dtype=torch.bool)
    for kind, actor, head in (("cont", "continuous_", cont), ("disc", "discrete_", disc)):
        rows = []
        for update in range(UPDATES):
            action = actions[kind][update]
            action = F.one_hot(action, 6).float() if kind == "disc" else action
            imagined = ImaginedTrajectory(feature[update], action[:, :HORIZON])
            policy = head.actor(imagined.feature)
            dream = head.trajectory_losses(imagined, reward[update], live[update], everywhere)
            value, slow = (critic.mean(critic(imagined.feature)) for critic in (head.critic, head.slow_critic))
            Head.after_update(head, dream.new_state)
            low, high = head.return_scale.low.clone(), head.return_scale.high.clone()
            scale = (high - low).clamp(min=1)
            row = {
                f"{kind}_logpi": policy.log_prob(action),
                f"{kind}_ent": policy.entropy(),
                f"{kind}_policy": dream.policy,
            }
            row |= {"value": dream.value, "ret": dream.returns, "value_pred": value, "slow_pred": slow, "low": low}
            rows.append(row | {"high": high, "scale": scale, "adv": (dream.returns - value[:, :-1]) / scale})
            if update == 2:
                (dream.policy.mean() + dream.value.mean()).backward()
                g |= under("im_grad.", gradients_of(head.critic, "critic."))
                g |= under(f"im_grad.{actor}", gradients_of(head.actor, "actor."))
                head.zero_grad()
        g |= under("im_", {name: torch.stack([row[name] for row in rows]) for name in rows[0]})
    return g


def _replay(head: ActorCritic) -> dict[str, Tensor]:
    feature, last, term = torch.randn(2, 6, FEATURES, requires_grad=True), flags(2, 6), flags(2, 6)
    reward, boot = torch.randn(2, 2, 6)
    rows = HeadBatch(None, None, reward, None, last.bool(), term.bool(), None)
    returns = head.replay_returns(rows, boot)
    loss = head.replay_value_loss(feature, last.bool(), returns)
    loss.mean().backward()
    own = {"feat": feature, "last": last, "term": term, "rew": reward, "boot": boot, "ret": returns, "loss": loss}
    for name, critic in (("value", head.critic), ("slow", head.slow_critic)):
        own[f"{name}_pred"] = critic.mean(critic(feature))
    return under("rp_", own | {"grad_feat": feature.grad} | under("grad.", gradients_of(head.critic, "critic.")))


def write_parameter_counts(folder: Path) -> None:
    """One agent with its own image sizes, and two keys of its vector."""
    sizes = {"deter": 48, "hidden": 10, "classes": 6, "depth": 8, "units": 12, "stoch": 5, "blocks": 6}
    sizes |= {"conv_mults": [1, 2], "vector_layers": 3, "bins": d.BINS}
    places = SpaceLayout(image=(8, 12, 1), vector=tuple("abcd"), discrete=(("a", 7),))
    with torch.device("meta"):
        world = World(places, world_settings(sizes))
    head = ActorCritic(head_context(world, ActorCriticSettings()))
    parts = {"encoder": world.encoder, "rssm": world.rssm, "decoder": world.decoder, "continue": head.continues}
    parts |= {"reward": head.reward, "actor": head.actor, "critic": head.critic}
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in parts.items()}
    tensors = official_state({n: p for module in (world, head) for n, p in module.named_parameters()})
    name, observation = "own_image8_vector3_1_disc7", {"image": [8, 12, 1], "arms": [3], "height": []}
    entry = {"sizes": sizes, "observation": observation, "action": ["disc", 7], "modules": counts}
    entry["trainable_total"] = sum(counts.values())
    listed = [{"name": key, "shape": [*tensor.shape]} for key, tensor in tensors.items()]
    (folder / "params.json").write_text(json.dumps({name: entry, f"{name}_parameters": listed}))
