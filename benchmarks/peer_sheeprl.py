"""sheeprl's side of a comparison: its DreamerV3 of the Nature paper (`dreamer_v3_5`) on one random batch.

Runs in the environment that peers.py makes. An update is what its training loop does for one batch: `train` and
`update_target_critic`, without metrics. Batches are time first with one step of context before the trained ones.
"""

import gymnasium as gym
import hydra
import numpy as np
import torch
from lightning.fabric import Fabric
from omegaconf import OmegaConf
from peer import asked, serve
from sheeprl.algos.dreamer_v3_5.agent import build_agent
from sheeprl.algos.dreamer_v3_5.dreamer_v3_5 import train, update_target_critic
from sheeprl.algos.dreamer_v3_5.utils import Moments
from sheeprl.utils.utils import dotdict

work = asked()
batch, length, choices = work["batch"], work["length"], work["choices"]
spaces = {}
if work["vector"]:
    spaces["state"] = gym.spaces.Box(-np.inf, np.inf, (work["vector"],), np.float32)
if work["image"]:
    height, width, channels = work["image"]
    spaces["rgb"] = gym.spaces.Box(0, 255, (channels, height, width), np.uint8)
with hydra.initialize_config_module("sheeprl.configs", version_base="1.3"):
    overrides = [
        "exp=dreamer_v3_5",
        f"algo=dreamer_v3_5_{work['size'].upper()}",
        "env=dummy",
        f"algo.cnn_keys.encoder=[{'rgb' if work['image'] else ''}]",
        f"algo.mlp_keys.encoder=[{'state' if work['vector'] else ''}]",
        f"algo.per_rank_batch_size={batch}",
        f"algo.per_rank_sequence_length={length}",
        *work["peer_set"],
    ]
    composed = hydra.compose("config", overrides)
cfg = dotdict(OmegaConf.to_container(composed, resolve=True, throw_on_missing=False))

torch.set_num_threads(work["threads"])
torch.set_float32_matmul_precision(cfg.float32_matmul_precision)
torch.manual_seed(0)
fabric = Fabric(accelerator="cpu", devices=1, precision=cfg.fabric.precision)
actions = (choices,) if choices else (work["continuous"],)
world, actor, critic, target, _ = build_agent(fabric, actions, not choices, cfg, gym.spaces.Dict(spaces))
trained = [*world.parameters(), *actor.parameters(), *critic.parameters()]
optimizer = fabric.setup_optimizers(hydra.utils.instantiate(cfg.algo.optimizer, params=trained, _convert_="all"))
scale = cfg.algo.actor.moments
moments = Moments(scale.decay, scale.max, scale.percentile.low, scale.percentile.high)

rows = (cfg.algo.replay_context + length, batch)
random = {name: torch.rand(*rows, *space.shape) for name, space in spaces.items()}
action = torch.nn.functional.one_hot(torch.randint(choices, rows), choices) if choices else torch.randn(*rows, *actions)
data = {
    **{name: (255 * x).byte() if name == "rgb" else x for name, x in random.items()},
    "actions": action.float(),
    "rewards": torch.randn(*rows, 1),
    "deter": torch.zeros(*rows, cfg.algo.world_model.recurrent_model.recurrent_state_size, dtype=torch.float16),
    "stoch": torch.zeros(*rows, cfg.algo.world_model.stochastic_size, dtype=torch.uint8),
    **{name: torch.zeros(*rows, 1) for name in ("is_first", "terminated", "truncated")},
}


def update() -> None:
    """One update as in training."""
    agent = (world, actor, critic, target, optimizer, moments)
    train(fabric, cfg, *agent, dict(data), None, actions)
    update_target_critic(critic, target, cfg.algo.critic.tau)


says = {
    "size": work["size"],
    "vector": sum(cell.shape[0] for name, cell in spaces.items() if name == "state"),
    "image": work["image"],
    "continuous": work["continuous"],
    "choices": choices,
    "heads": 1,
    "batch": cfg.algo.per_rank_batch_size,
    "length": cfg.algo.per_rank_sequence_length,
    "horizon": cfg.algo.horizon,
    "threads": torch.get_num_threads(),
    "torch": torch.__version__.partition("+")[0],
    "parameters": sum(p.numel() for p in trained if p.requires_grad),
    "compiled": cfg.algo.compile.enabled,
    "precision": cfg.fabric.precision,
}
serve(says, update)
