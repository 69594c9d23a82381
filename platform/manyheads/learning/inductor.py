"""What makes torch's compiler for CPUs quicker and is no setting of it.

Its own functions are replaced. Where a version of torch asks elsewhere, nothing changes, but compiling takes longer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any


@cache
def quicken_compiler() -> None:
    """Once in a process: all that a region's C++ includes is precompiled, a second less for each region, one more once;
    strides are found by looking at an index, not by simplifying it; the one table of types is made once, not for every
    operation."""
    from torch._inductor.codecache import CppWrapperCodeCache  # takes seconds, which the settings need not wait for
    from torch._inductor.codegen import common, cpp

    def header(_: type, device: str) -> str:
        return str(Path(__file__).with_name("region.h"))

    replaced: list[tuple[object, str, Callable[[Any], object]]] = [
        (CppWrapperCodeCache, "_get_uncompiled_header", lambda _: classmethod(header)),
        (cpp, "stride_at_vec_range", lambda own: partial(stride, own)),
        (common, "DtypePropagationOpsHandler", cache),
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
