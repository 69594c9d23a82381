"""This project's side of a comparison: `manyheads.learning.workload.Bench`."""

import torch
from peer import asked, serve

from manyheads.heads.actor_critic import ActorCriticSettings
from manyheads.learning.workload import SyntheticLearner, Workload

work = asked()
threads, plain = work.pop("threads"), work.pop("plain")
torch.set_num_threads(threads)
bench = SyntheticLearner(Workload(**work), fast=not plain)
says = {
    **work,
    "threads": torch.get_num_threads(),
    "torch": torch.__version__.partition("+")[0],
    "parameters": bench.parameters,
    "horizon": ActorCriticSettings().horizon,
    "compiled": bench.world.execution.compiled,
    "precision": str(bench.world.execution.compute_dtype).removeprefix("torch."),
}
serve(says, bench.update)
