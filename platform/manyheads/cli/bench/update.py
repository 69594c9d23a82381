"""`manyheads bench learner`: what one update costs, and where."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, Literal, ParamSpec, TypeVar

import click
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from manyheads.cli.bench.machine import (
    device_name,
    forget_peak_memory,
    gemm_gflops,
    peak_memory_mb,
    show,
    timed,
)
from manyheads.learning.workload import WORKLOADS, Bench, Workload
from manyheads.world.execution import Execution

P = ParamSpec("P")
R = TypeVar("R")
M = TypeVar("M", bound=nn.Module)

PARTS = {
    "forward": "encoder",
    "steps": "scan, forth",
    "steps_back": "scan, back",
    "maps_back": "scan, weights",
    "_losses": "world losses",
    "step_into": "imagination",
    "imagined_step": "imagination",
    "foresee": "heads, predictions",
    "policy_with_gradients": "heads, policy",
    "value_with_gradients": "heads, value",
    "learn_imagined": "heads, imagined rows",
    "learn_real": "heads, real rows",
}
"""which part of an update a region belongs to"""


class Stopwatch(Execution):
    """Runs regions as another execution does and adds up their seconds by part."""

    def __init__(self, inner: Execution) -> None:
        super().__init__(inner.dtype)
        self.inner, self.compiled = inner, inner.compiled
        self.seconds: dict[str, float] = defaultdict(float)

    def region(self, function: Callable[P, R]) -> Callable[P, R]:
        run, part = self.inner.region(function), PARTS.get(function.__name__, function.__name__)

        def timed(*args: P.args, **kwargs: P.kwargs) -> R:
            start = time.perf_counter()
            result = run(*args, **kwargs)
            self.seconds[part] += time.perf_counter() - start
            return result

        return timed

    def short(self, module: M) -> M:
        return self.inner.short(module)


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
    if threads:
        torch.set_num_threads(threads)
    result = {"workload": workload, **measure(WORKLOADS[workload], device, not plain, rounds)}
    show(f"One update, {workload}", result, as_json)


def measure(workload: Workload, device: Literal["cpu", "cuda"], fast: bool, rounds: int) -> dict[str, Any]:
    """Everything that `bench learner` tells of one workload."""
    work = Bench(workload, device, fast=fast)
    first = timed(work.update) + timed(work.update)  # the second one takes from the cache what another process compiled
    forget_peak_memory(device)
    times = [timed(work.update) for _ in range(rounds)]
    peak = peak_memory_mb(device)
    median = statistics.median(times)
    rate, gflop = gemm_gflops(device), count_gflop(workload)
    return {
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "compiled": work.world.execution.compiled,
        "median_ms": 1000 * median,
        "fastest_ms": 1000 * min(times),
        "slowest_ms": 1000 * max(times),
        "compile_s": max(0.0, first - 2 * median),
        "peak_memory_mb": peak,
        "parameters": work.parameters,
        "gflop": gflop,
        "machine_gflops": rate,
        "share_of_machine": gflop / median / rate,
        "parts_ms": breakdown(work, max(3, rounds // 4)),
    }


def count_gflop(workload: Workload) -> float:
    """Floating-point operations of matrix products and convolutions in one plain update, in 1e9."""
    plain = Bench(workload, fast=False)
    counter = FlopCounter()  # type: ignore[no-untyped-call]
    with counter:
        torch.stack([*plain.losses().values()]).sum().backward()  # type: ignore[no-untyped-call]
    return counter.total / 1e9


def breakdown(work: Bench, updates: int) -> Mapping[str, float]:
    """Milliseconds by part, medians; without the forward parts' own names, the rest of each phase.

    One part after the other: in an update the heads' policy and value run beside the way back of all else.
    """
    watch = Stopwatch(work.world.execution)
    work.world.execution = watch
    rows: list[dict[str, float]] = []
    for _ in range(updates):
        watch.seconds.clear()
        started = time.perf_counter()
        with watch.inner.steady(work.learner, "_update", work.batch.shape):
            total = torch.stack([*work.losses().values()]).sum()
            forward = time.perf_counter() - started
            inside = dict(watch.seconds)
            backward = timed(total.backward)
        optimizer = timed(lambda: [o.step(o.gradient_norms(), watch.inner) for o in work.learner.optimizers.values()])
        back = watch.seconds.pop("scan, back", 0.0)
        rest = forward - sum(inside.values())
        parts = {"scan, back": back, "backward, rest": backward - back, "optimizer": optimizer, "rest": rest}
        rows.append({**inside, **parts})
    work.world.execution = watch.inner
    return {name: 1000 * statistics.median(row[name] for row in rows) for name in rows[-1]}
