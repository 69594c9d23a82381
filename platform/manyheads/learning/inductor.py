"""Makes torch's compiler for CPUs quicker where it has no setting for that.

Its own functions are replaced. Where a version of torch asks elsewhere, nothing changes, but compiling takes longer.
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

FLAGS = ("-O2", "-g0")
"""of the C++ compiler, after torch's own -O3 -g1: loops are as fast, for they are written with vectors"""


@cache
def quicken_compiler() -> None:
    """Once in a process: C++ is compiled by others while this one writes more; all that it includes is precompiled, a
    second less for each region, one more once; strides are found by looking at an index, not by simplifying it; the one
    table of types is made once, not for every operation; no text for torch's developers and no hidden progress bar is
    made."""
    from torch._inductor.codecache import CppWrapperCodeCache, FxGraphCachePickler  # takes seconds
    from torch._inductor.codegen import common, cpp
    from torch.fx import interpreter
    from torch.hub import _Faketqdm

    def header(_: type, device: str) -> str:
        return str(Path(__file__).with_name("region.h"))

    replaced: list[tuple[object, str, Callable[[Any], object]]] = [
        (CppWrapperCodeCache, "load_pybinding", lambda own: staticmethod(partial(Region, own))),
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
    """By how much an `index` of sympy's grows with a variable, `within` so many steps of it; torch's own function sees
    only what is not linear."""
    linear = other = 0 * variable
    for term, factor in index.as_coefficients_dict().items():
        if term == variable:
            linear += factor
        elif variable in term.free_symbols:
            other += factor * term
    return linear if other == 0 else linear + by_simplifying(other, variable, within)


class Region:
    """The C++ of a region, given to a compiler in another process, for which its first call waits.

    Where a compiler has failed with another one of those that are compiled together, it raises that error.
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
def compilers(options: Mapping[str, Any]) -> Iterator[None]:
    """Around what gives regions of these `options` to compilers together: first of all what every region includes is
    given; ends when all is compiled."""
    from torch._inductor import config
    from torch._inductor.codecache import CppWrapperCodeCache

    def nothing_more(_: object) -> None: ...

    with config.patch(dict(options)):
        headers = partial(CppWrapperCodeCache.load_async, "", extra_flags=FLAGS, submit_fn=nothing_more)
        _compilers().submit(copy_context().run, headers)
    Region.together, given_up = [], False
    try:
        yield
    except BaseException as error:
        given_up = by_compiler(error) or not isinstance(error, Exception)  # else its regions are called still
        raise
    finally:
        pool = _compilers()
        _compilers.cache_clear()
        pool.shutdown(cancel_futures=given_up)
        Region.together = None


def by_compiler(error: BaseException) -> bool:
    """Whether torch's compiler raised an error: Ctrl-C on a terminal reaches the C++ compiler too, which ends then."""
    return type(error).__module__.startswith(("torch._inductor", "torch._dynamo"))


@cache
def _compilers() -> ThreadPoolExecutor:
    """A thread for each core, to wait for a compiler there; this process goes first, for they wait for it."""
    return ThreadPoolExecutor(os.cpu_count(), initializer=os.nice, initargs=(5,))
