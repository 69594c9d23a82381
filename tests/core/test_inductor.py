"""What is replaced in torch's compiler does what it did, and torch still asks there."""

import inspect
import re
from functools import partial
from pathlib import Path

import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from small_agent import small_world
from torch._inductor.codecache import (
    CppCodeCache,
    CppWrapperCodeCache,
    _get_cpp_prefix_header,
    _get_cpp_wrapper_header,
)
from torch._inductor.codegen import common, cpp, cpp_wrapper_cpu
from torch.utils._sympy.functions import FloorDiv, ModularIndexing

from manyheads.learning.fast import accelerate
from manyheads.learning.inductor import quicken_compiler, stride
from manyheads.learning.settings import TrainingSettings

quicken_compiler()
(stride_at_vec_range,) = cpp.stride_at_vec_range.args  # torch's own
VARIABLES = sympy.symbols("d0:3", integer=True, nonnegative=True)

steps = st.builds(
    lambda variable, divisor, modulus, kind: {
        "plain": variable,
        "divided": FloorDiv(variable, divisor),
        "folded": ModularIndexing(variable, divisor, modulus),
    }[kind],
    st.sampled_from(VARIABLES),
    st.sampled_from([2, 8, 16]),
    st.sampled_from([2, 8, 16]),
    st.sampled_from(["plain", "plain", "divided", "folded"]),
)
indices = st.lists(st.tuples(st.integers(0, 64), steps), max_size=4).map(
    lambda terms: sum((factor * step for factor, step in terms), sympy.Integer(3))
)


@settings(max_examples=60, deadline=None)
@given(indices, st.sampled_from(VARIABLES), st.sampled_from([None, 8, 16]))
def test_strides_are_what_torch_finds_by_simplifying(index, variable, within):
    found, whole = stride(stride_at_vec_range, index, variable, within), stride_at_vec_range(index, variable, within)
    assert sympy.simplify(found - whole) == 0
    assert [found == 0, found == 1, bool(found.free_symbols)] == [whole == 0, whole == 1, bool(whole.free_symbols)]


def test_what_is_linear_is_not_simplified():
    x, y, _ = VARIABLES
    assert stride(None, 128 * x + FloorDiv(y, 2) + 5, x, 8) == 128


def test_torch_asks_for_types_and_strides_here():
    accelerate(small_world(), TrainingSettings())
    accelerate(small_world(), TrainingSettings())
    assert common.DtypePropagationOpsHandler.cache_info().maxsize is None
    assert "= DtypePropagationOpsHandler()" in inspect.getsource(common)
    assert cpp.stride_at_vec_range.func is stride
    assert not isinstance(stride_at_vec_range, partial), "replaced once"
    assert "= stride_at_vec_range(" in inspect.getsource(cpp)


def test_all_that_a_region_includes_is_precompiled():
    accelerate(small_world(), TrainingSettings())
    header = Path(CppWrapperCodeCache._get_uncompiled_header("cpu"))
    included = re.findall("#include <(.*)>", header.read_text())
    assert included == [_get_cpp_wrapper_header("cpu"), _get_cpp_prefix_header("cpu")]
    assert "_get_uncompiled_header" in vars(CppCodeCache), "torch asks elsewhere now"


def test_a_regions_calls_are_named_as_the_header_says():
    accelerate(small_world(), TrainingSettings())
    header = Path(CppWrapperCodeCache._get_uncompiled_header("cpu")).read_text()
    (name,) = re.findall(r"void (\w+)\(AtenTensorHandle\*, AtenTensorHandle\*\);", header)
    assert f"void {name}(" in inspect.getsource(cpp_wrapper_cpu)
