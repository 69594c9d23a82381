"""Makes torch's compiler for CPUs quicker where it has no setting for that.

Functions of torch are replaced. Where a version of torch lacks one, the others are replaced, and compiling takes
longer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from functools import cache, partial
from pathlib import Path
from typing import Any, ClassVar

from manyheads.execution.toolchain import is_compiler_error

FLAGS = ("-O2", "-g0")
"""of the C++ compiler, after torch's own -O3 -g1: loops are as fast, for they use vector intrinsics"""


@cache
def patch_compiler() -> None:
    """Once in a process: C++ is compiled by other processes while this one writes more; all its includes are
    precompiled (a second less for each function, one more once); strides are read off an index instead of simplified;
    the table of types is made once instead of for every operation; no debugging text and no hidden progress bar is
    made."""
    from torch._inductor.codecache import CppWrapperCodeCache, FxGraphCachePickler  # takes seconds
    from torch._inductor.codegen import common, cpp
    from torch.fx import interpreter
    from torch.hub import _Faketqdm

    def header(_: type, device: str) -> str:
        return str(Path(__file__).with_name("kernel.h"))

    replaced: list[tuple[object, str, Callable[[Any], object]]] = [
        (CppWrapperCodeCache, "load_pybinding", lambda own: staticmethod(partial(BackgroundKernel, own))),
        (CppWrapperCodeCache, "_get_uncompiled_header", lambda _: classmethod(header)),
        (cpp, "stride_at_vec_range", lambda own: partial(stride, own)),
        (common, "DtypePropagationOpsHandler", cache),
        (FxGraphCachePickler, "debug_lines", lambda _: lambda *_: []),
        (interpreter, "tqdm", lambda _: _Faketqdm),
    ]
    for owner, name, by in replaced:
        if hasattr(owner, name):
            setattr(owner, name, by(getattr(owner, name)))


def stride(by_simplifying: Callable[..., Any], index: Any, variable: Any, within: int | None = None) -> Any:
    """By how much an index (a sympy expression) grows with a variable, `within` so many steps of it; torch's own
    function `by_simplifying` gets only the terms that are not linear."""
    linear = other = 0 * variable
    for term, factor in index.as_coefficients_dict().items():
        if term == variable:
            linear += factor
        elif variable in term.free_symbols:
            other += factor * term
    return linear if other == 0 else linear + by_simplifying(other, variable, within)


class BackgroundKernel:
    """The C++ of a compiled function, given to a compiler in another process; its first call waits for that.

    Raises the error of another kernel that was compiled in the same `parallel_compilation` and failed.
    """

    together: ClassVar[list[Future[Callable[[Any], Any]]] | None] = None

    def __init__(self, load: Callable[..., Any], *args: Any, extra_flags: Sequence[str] = (), **options: Any) -> None:
        for other in self.together or ():
            if other.done():
                other.result()
        loading = partial(load, *args, extra_flags=(*extra_flags, *FLAGS), **options)
        self._loaded: Future[Callable[[Any], Any]] = _compilers().submit(copy_context().run, loading)
        if self.together is not None:
            self.together.append(self._loaded)

    def __call__(self, handles: Any) -> Any:
        return self._loaded.result()(handles)


@contextmanager
def parallel_compilation(options: Mapping[str, Any]) -> Iterator[None]:
    """Around the generation of several functions' code with these `options` (inductor's): their common headers are
    compiled first; ends when everything is compiled."""
    from torch._inductor import config
    from torch._inductor.codecache import CppWrapperCodeCache

    def nothing_more(_: object) -> None: ...

    with config.patch(dict(options)):
        headers = partial(CppWrapperCodeCache.load_async, "", extra_flags=FLAGS, submit_fn=nothing_more)
        _compilers().submit(copy_context().run, headers)
    BackgroundKernel.together, given_up = [], False
    try:
        yield
    except BaseException as error:
        given_up = is_compiler_error(error) or not isinstance(error, Exception)  # else its functions are still called
        raise
    finally:
        pool = _compilers()
        _compilers.cache_clear()
        pool.shutdown(cancel_futures=given_up)
        BackgroundKernel.together = None


@cache
def _compilers() -> ThreadPoolExecutor:
    """A thread for each core that waits for a compiler; this process has priority, for the compilers wait for it."""
    return ThreadPoolExecutor(os.cpu_count(), initializer=os.nice, initargs=(5,))
