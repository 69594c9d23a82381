"""How fast one update is on this machine: synthetic batches of the published shapes, timed part by part."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, cast

import torch
from torch.utils.flop_counter import FlopCounterMode

from manyheads.environment.places import Places
from manyheads.experience.batch import Batch
from manyheads.heads.actor_critic import KIND, HeadSettings
from manyheads.learning.fast import accelerate
from manyheads.learning.learner import HeadLabels, Learner
from manyheads.learning.optimizer import OptimizerSettings
from manyheads.learning.settings import TrainingSettings
from manyheads.world.model import World
from manyheads.world.sizes import WorldSettings


@dataclass(frozen=True)
class Workload:
    """The shapes of one update."""

    size: str
    interface: Places
    batch: int = 16
    length: int = 64
    heads: int = 1


def _numbered(name: str, count: int) -> tuple[str, ...]:
    return tuple(f"{name}[{i}]" for i in range(count))


WORKLOADS = {
    "proprio-1m": Workload("1m", Places(vector=_numbered("v", 24), continuous=_numbered("a", 6))),
    "pixels-12m": Workload("12m", Places(image=(64, 64, 3), discrete=(("a", 18),))),
    "demo": Workload("demo", Places(vector=_numbered("v", 5), continuous=_numbered("a", 1)), length=32, heads=2),
}


@dataclass(frozen=True)
class Timing:
    """What was measured; times in milliseconds, `share` of the machine's measured bf16 rate."""

    workload: str
    device: str
    precision: str
    compiled: bool
    median_ms: float
    fastest_ms: float
    slowest_ms: float
    compile_s: float
    peak_memory_mb: float
    parameters: int
    gflop: float
    machine_gflops: float
    share: float
    losses_ms: float
    descent_ms: float

    def record(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def measure(name: str, training: TrainingSettings, rounds: int) -> Timing:
    """Times `rounds` updates after the first ones; counts operations on the plain form of the same update."""
    learner, update = _prepare(name, training)
    warm = [_seconds(update) for _ in range(3)]
    memory = _peak_memory(training.device)
    times = [_seconds(update) for _ in range(rounds)]
    median = statistics.median(times)
    losses = statistics.median(_seconds(lambda: _losses(name, learner)) for _ in range(min(rounds, 5)))
    gflop, machine = _operations(name, training), _machine_rate(training.device)
    modules = [learner.world, *learner.heads.values()]
    return Timing(
        workload=name,
        device=training.device,
        precision=training.precision,
        compiled=learner.world.execution.compiled,
        median_ms=1e3 * median,
        fastest_ms=1e3 * min(times),
        slowest_ms=1e3 * max(times),
        compile_s=max(0.0, sum(warm) - len(warm) * median),
        peak_memory_mb=memory,
        parameters=sum(p.numel() for module in modules for p in module.parameters() if p.requires_grad),
        gflop=gflop,
        machine_gflops=machine,
        share=gflop / median / machine,
        losses_ms=1e3 * losses,
        descent_ms=1e3 * max(0.0, median - losses),
    )


def _prepare(name: str, training: TrainingSettings) -> tuple[Learner, Callable[[], object]]:
    workload, device = WORKLOADS[name], training.device
    torch.manual_seed(0)
    world = World(workload.interface, WorldSettings(size=workload.size)).to(device)
    accelerate(world, training)
    mask = workload.interface.mask(workload.interface)
    names = [f"task{i}" for i in range(workload.heads)]
    heads = {head: KIND.build(workload.interface, mask, world, HeadSettings()).to(device) for head in names}
    learner = Learner(world, heads, OptimizerSettings())
    arguments = _arguments(name, learner)
    return learner, lambda: learner.update(*arguments)


def _arguments(name: str, learner: Learner) -> tuple[Batch, dict[str, HeadLabels], torch.Tensor, torch.Tensor]:
    workload, world = WORKLOADS[name], learner.world
    b, t, device, interface = workload.batch, workload.length, world.device, workload.interface
    never = torch.zeros(b, t, dtype=torch.bool, device=device)
    start = world.initial(b)
    pixels = None
    if interface.image is not None:
        pixels = torch.randint(256, (b, t, *interface.image), dtype=torch.uint8, device=device)
    batch = Batch(
        image=pixels,
        vector=torch.randn(b, t, len(interface.vector), device=device),
        previous_action=torch.randn(b, t, interface.action_size, device=device),
        signals=torch.zeros(b, t, 1, device=device),
        first=never,
        last=never,
        terminal=never,
        instance=torch.zeros(b, dtype=torch.int64, device=device),
        deter=start.deter,
        stoch=start.stoch,
    )
    labels = {head: HeadLabels(torch.randn(b, t, device=device), never, ~never) for head in learner.heads}
    everywhere = torch.ones(b, len(interface.vector), device=device)
    return batch, labels, everywhere, torch.ones(b, device=device)


def _losses(name: str, learner: Learner) -> None:
    learner.losses(*_arguments(name, learner))


def _operations(name: str, training: TrainingSettings) -> float:
    """GFLOP of one update's matrix products and convolutions, forward and backward."""
    plain = TrainingSettings(device=training.device, precision="float32", compile=False)
    _, update = _prepare(name, plain)
    counter = FlopCounterMode(display=False)
    counter.mod_tracker = cast(
        Any, _NoModules()
    )  # torch's own tracker fails on modules used both with and without a graph
    with counter:
        update()
    return float(counter.get_total_flops()) / 1e9


class _NoModules:
    """Counts everything as one module's."""

    parents: ClassVar = {"Global"}

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


def _machine_rate(device: str) -> float:
    """GFLOP/s of a bfloat16 product of 2048 x 2048 matrices."""
    a = torch.randn(2048, 2048, device=device).bfloat16()
    fastest = min(_seconds(lambda: a @ a) for _ in range(10))
    return 2 * 2048**3 / fastest / 1e9


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def _peak_memory(device: str) -> float:
    """MB that this process held at most, or that the GPU did."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
