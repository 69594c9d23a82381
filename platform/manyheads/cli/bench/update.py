"""`manyheads bench learner`: what one update costs, and where."""

from __future__ import annotations

import statistics
from typing import Any, Literal

import click
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from manyheads.cli.bench.breakdown import breakdown
from manyheads.cli.bench.machine import (
    device_name,
    forget_peak_memory,
    gemm_gflops,
    peak_memory_mb,
    show,
    timed,
)
from manyheads.execution.cuda_graph import WARM_CALLS
from manyheads.learning.device import check_device
from manyheads.learning.workload import WORKLOADS, SyntheticLearner, Workload


class FlopCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the operations of matrix products and convolutions."""

    total: int = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if func._overloadpacket in flop_registry:
            self.total += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=out)
        return out


@click.command()
@click.option("--workload", default="proprio-1m", show_default=True, type=click.Choice([*WORKLOADS]))
@click.option("--device", default="cpu", show_default=True, type=click.Choice(["cpu", "cuda"]))
@click.option("--plain", is_flag=True, help="the plain path: uncompiled, float32")
@click.option("--threads", type=click.IntRange(min=1), help="threads of the CPU  [default: all cores]")
@click.option("--rounds", default=20, show_default=True, type=click.IntRange(min=3))
@click.option("--json", "as_json", is_flag=True, help="one JSON object instead of a table")
def learner(
    workload: str, device: Literal["cpu", "cuda"], plain: bool, threads: int | None, rounds: int, as_json: bool
) -> None:
    """Time full updates (world model, heads, optimiser) on synthetic batches."""
    check_device(device, "--device", "Leave it out to time the CPU")
    if threads:
        torch.set_num_threads(threads)
    result = {"workload": workload, **measure(WORKLOADS[workload], device, not plain, rounds)}
    show(f"One update, {workload}", result, as_json)


def measure(workload: Workload, device: Literal["cpu", "cuda"], fast: bool, rounds: int) -> dict[str, Any]:
    """Everything that `bench learner` tells of one workload."""
    work = SyntheticLearner(workload, device, fast=fast)
    # on a CPU the second one is the first that is not checked again; on a GPU the last one is captured
    ready = WARM_CALLS + 1 if device == "cuda" else 2
    first = sum(timed(work.update) for _ in range(ready))
    forget_peak_memory(device)
    times = [timed(work.update) for _ in range(rounds)]
    peak = peak_memory_mb(device)
    median = statistics.median(times)
    dtype = work.world.execution.compute_dtype
    rate, gflop = gemm_gflops(device, dtype), count_gflop(workload, device)
    return {
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "compiled": work.world.execution.compiled,
        "precision": str(dtype).removeprefix("torch."),
        "median_ms": 1000 * median,
        "fastest_ms": 1000 * min(times),
        "slowest_ms": 1000 * max(times),
        "compile_s": max(0.0, first - ready * median),
        "peak_memory_mb": peak,
        "parameters": work.parameters,
        "gflop": gflop,
        "machine_gflops": rate,
        "share_of_machine": gflop / median / rate,
        "parts_ms": breakdown(work, max(3, rounds // 4)),
    }


def count_gflop(workload: Workload, device: Literal["cpu", "cuda"]) -> float:
    """Floating-point operations of matrix products and convolutions in one plain update, in 1e9."""
    plain = SyntheticLearner(workload, device, fast=False)
    counter = FlopCounter()  # type: ignore[no-untyped-call]
    with counter:
        torch.autograd.backward(torch.stack([*plain.losses().values()]).sum())
    return counter.total / 1e9
