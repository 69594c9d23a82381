"""What is replaced in torch's compiler does what it did, and torch still asks there."""

import inspect
import re
import threading
from functools import partial
from pathlib import Path

import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from small_agent import small_world
from torch._inductor import codecache
from torch._inductor.codecache import (
    CppCodeCache,
    CppWrapperCodeCache,
    FxGraphCachePickler,
    _get_cpp_prefix_header,
    _get_cpp_wrapper_header,
)
from torch._inductor.codegen import common, cpp, cpp_wrapper_cpu
from torch.fx import interpreter
from torch.utils._sympy.functions import FloorDiv, ModularIndexing

from manyheads.execution.inductor.patches import FLAGS, BackgroundKernel, parallel_compilation, patch_compiler, stride
from manyheads.learning.device import accelerate
from manyheads.settings import TrainingSettings

patch_compiler()
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


def test_torch_writes_no_text_for_its_developers_and_no_hidden_progress_bar():
    accelerate(small_world(), TrainingSettings())
    assert FxGraphCachePickler.debug_lines(None, None) == []
    assert "debug_lines = pickler.debug_lines(" in inspect.getsource(codecache)
    assert interpreter.tqdm.__name__ == "_Faketqdm"
    assert "pbar = tqdm(" in inspect.getsource(interpreter)


def test_torch_gives_a_regions_code_to_a_compiler_here():
    accelerate(small_world(), TrainingSettings())
    assert CppWrapperCodeCache.load_pybinding.func is BackgroundKernel
    assert "inductor_entry = CppWrapperCodeCache.load_pybinding(" in inspect.getsource(cpp_wrapper_cpu)


def test_a_region_is_compiled_in_another_thread_and_its_first_call_waits():
    begins, seen = threading.Event(), []

    def load(code, extra_flags, **options):
        assert begins.wait(10)
        seen.append((code, extra_flags, options, threading.get_ident()))
        return lambda handles: [*handles, code]

    region = BackgroundKernel(load, "code", extra_flags=("-x",), num_outputs=1)
    assert not seen
    begins.set()
    assert region([1]) == region([1]) == [1, "code"]
    ((*given, thread),) = seen
    assert given == ["code", ("-x", *FLAGS), {"num_outputs": 1}]
    assert thread != threading.get_ident()


def test_a_region_that_no_compiler_takes_says_so_when_it_is_called_or_the_next_one_comes(monkeypatch):
    monkeypatch.setattr(CppWrapperCodeCache, "load_async", lambda code, **options: None)

    def load(extra_flags):
        raise ValueError("no such flag")

    with parallel_compilation({}):
        region = BackgroundKernel(load)
        with pytest.raises(ValueError, match="no such flag"):
            region([])
        with pytest.raises(ValueError, match="no such flag"):
            BackgroundKernel(load)
    BackgroundKernel(load)


def test_compilers_end_when_all_is_compiled(monkeypatch):
    monkeypatch.setattr(CppWrapperCodeCache, "load_async", lambda code, **options: loaded.append(code))
    loaded, released = [], threading.Event()

    def load(code, extra_flags):
        assert released.wait(10)
        loaded.append(code)

    with parallel_compilation({"cpp_wrapper": True}):
        for i in range(9):
            BackgroundKernel(load, str(i))
        assert len(loaded) <= 1
        released.set()
    assert sorted(loaded) == ["", *"012345678"]


@pytest.mark.parametrize(("error", "left"), [(KeyboardInterrupt(), True), (ValueError("a head"), False)])
def test_what_no_compiler_has_begun_is_left_at_an_interrupt_alone(error, left, monkeypatch):
    monkeypatch.setattr(CppWrapperCodeCache, "load_async", lambda code, **options: None)
    loaded, released = [], threading.Event()

    def load(extra_flags):
        assert released.wait(10)
        loaded.append("region")

    def fails():
        for _ in range(99):
            BackgroundKernel(load)
        threading.Timer(0.05, released.set).start()
        raise error

    with pytest.raises(type(error)), parallel_compilation({}):
        fails()
    assert loaded
    assert (len(loaded) < 99) == left


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
