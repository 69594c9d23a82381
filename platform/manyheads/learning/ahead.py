"""Compiling on two cores: a first update compiles its regions as it comes to them, a second process the later ones.

Both use one cache folder, so each finds there what the other has compiled, and the first update takes little more than
half of the time. The second process runs the same update with zeros in place of what regions compute, to see what its
regions are called with. Regions with gradients take longest, and who finds only the way forth of one in the cache
begins anew: they are the second process's, and the first update runs them plainly.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from pickle import PicklingError
from signal import SIGTERM
from tempfile import TemporaryFile
from threading import Event, Thread
from typing import IO, Any, NamedTuple

import cloudpickle
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from manyheads.learning.fast import GRAPHS, cache_folder, give_back_memory
from manyheads.learning.inductor import quicken_compiler
from manyheads.world.direct import kind_of
from manyheads.world.execution import Compiled, Execution, threads

LOOK_EVERY = 0.1
"""seconds"""


class Call(NamedTuple):
    """Of a region."""

    function: Any
    graded: bool
    beside: bool
    args: Any


class Rehearsal(Compiled):
    """Regions give zeros of the right shapes; one call of each kind is remembered."""

    def __init__(self, like: Compiled) -> None:
        super().__init__(like.dtype, like.options)
        self._calls: dict[Hashable, Call] = {}
        self._made: dict[Hashable, Any] = {}
        self._beside = self._halved = False

    def region(self, function: Any) -> Any:
        def call(*args: Any) -> Any:
            graded, tensors = torch.is_grad_enabled(), list[Tensor]()
            kind = function, graded, kind_of(args, tensors)
            if kind not in self._calls:
                self._calls[kind] = Call(function, graded, self._beside, _cut_off(args))
                with FakeTensorMode(allow_non_fake_inputs=True):
                    self._made[kind] = function(*args)
            return _zeros_like(self._made[kind], tensors)

        return call

    def beside(self, works: Any) -> Any:
        self._beside = len(works) > 1
        self._halved |= self._beside
        made = Execution.beside(self, works)
        self._beside = False
        return made

    def compile_region(self, function: Any) -> Any:
        """What `region` is where nothing is rehearsed."""
        return super().region(function)

    def compile(self, cores: int, graded: bool) -> None:
        """Compiles what was called with gradients, or without, from the last to the first; not what was called first of
        all, which the other process is at."""
        half = max(1, cores // 2)
        calls = [call for call in [*self._calls.values()][1:] if call.graded == graded]
        for function, _, beside, args in calls[::-1]:
            with torch.set_grad_enabled(graded), threads(half if beside else cores):
                made = self.compile_region(function)(*args)
            attached = [x for x in tree_leaves(made) if isinstance(x, Tensor) and x.requires_grad]
            with threads(half if self._halved else cores):
                torch.autograd.backward(attached, [torch.ones_like(x) for x in attached])


@contextmanager
def compiling_ahead(learner: Any, update: str, *args: Any) -> Iterator[None]:
    """Around a learner's first `update` with `args`: what the cache lacks is compiled by two processes."""
    work = _packed(learner, update, args)
    if work is None:
        yield
        return
    execution, done, says = learner.world.execution, Event(), list[IO[bytes]]()
    watcher = Thread(target=_watch, args=(done, work, _missed(), execution, says), daemon=True)
    watcher.start()
    try:
        yield
        for second in says:
            second.read(1)  # until all with gradients is there, or it failed
    finally:
        done.set()
        watcher.join()
        execution.elsewhere = False
        if says:
            give_back_memory()  # what ran plainly took more than it will compiled


def _packed(learner: Any, update: str, args: Any) -> bytes | None:
    """The work for another process; None without a core for one, or where a head can't leave this one."""
    execution: Execution = learner.world.execution
    cores = torch.get_num_threads()
    if not execution.compiled or learner.world.device.type != "cpu" or cores == 1 or os.name != "posix":
        return None
    try:
        packed: bytes = cloudpickle.dumps((learner, update, args, cores))
    except (PicklingError, TypeError, AttributeError):  # how pickle says so
        return None
    return packed


def _watch(done: Event, work: bytes, before: int, execution: Compiled, says: list[IO[bytes]]) -> None:
    """Starts the second process once something is missing in the cache, and ends it when all is `done`.

    What it says stays in the cache folder if it failed.
    """

    def something_missing() -> bool:
        while not done.wait(LOOK_EVERY):
            if _missed() > before:
                return True
        return False

    if any(cache_folder().glob("*")) and not something_missing():
        return
    cache_folder().mkdir(parents=True, exist_ok=True)
    own = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_WAIT_POLICY": "passive"}  # cores are shared
    log_file = cache_folder() / f"ahead-{os.getpid()}.log"
    with TemporaryFile() as given, log_file.open("wb") as log:
        given.write(work)
        given.seek(0)
        second = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__],
            stdin=given,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, **own},
        )
    assert second.stdout is not None  # for it was asked for
    says.append(second.stdout)
    if something_missing():
        execution.elsewhere = True  # from the second region on
        done.wait()
    second.terminate()
    if second.wait() in (0, -SIGTERM):
        log_file.unlink()


def _missed() -> int:
    from torch._dynamo.utils import counters  # takes a second, which acting need not wait for

    return int(counters["inductor"]["fxgraph_cache_miss"])


def _zeros_like(made: Any, tensors: list[Tensor]) -> Any:
    """Zeros for tensors; what has a graph gives zero gradients to those of `tensors` that want some."""
    leaves, structure = tree_flatten(made)
    zeros = iter(_Zeros.apply([x for x in leaves if isinstance(x, Tensor)], *tensors))  # type: ignore[no-untyped-call]
    return tree_unflatten([next(zeros) if isinstance(x, Tensor) else x for x in leaves], structure)


class _Zeros(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, like: list[Tensor], *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.tensors = tensors
        made = [torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device=x.device).zero_() for x in like]
        ctx.mark_non_differentiable(*(zeros for x, zeros in zip(like, made, strict=True) if not x.requires_grad))
        return tuple(made)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return None, *(torch.zeros_like(x) if x.requires_grad else None for x in ctx.tensors)


def _cut_off(args: Any) -> Any:
    """The same arguments with tensors that have no graph; what was one tensor stays one."""
    made: dict[Tensor, Tensor] = {}

    def cut(x: Any) -> Any:
        if isinstance(x, Tensor) and x not in made:
            made[x] = x.detach().requires_grad_(x.requires_grad)
        return made[x] if isinstance(x, Tensor) else x

    return tree_map(cut, args)


def _rehearse() -> None:
    os.nice(5)  # the other process runs what it has compiled, on all cores, but waits for what both need
    torch._dynamo.config.recompile_limit = GRAPHS
    quicken_compiler()
    learner, update, args, cores = cloudpickle.loads(sys.stdin.buffer.read())
    learner.world.execution = rehearsal = Rehearsal(learner.world.execution)
    torch.set_num_threads(1)
    getattr(learner, update)(*args)
    rehearsal.compile(cores, graded=True)  # code is made for so many
    print(flush=True)
    rehearsal.compile(cores, graded=False)


if __name__ == "__main__":
    _rehearse()
