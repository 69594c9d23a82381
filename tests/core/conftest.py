"""For tests that compile nothing, and for those that read the golden set."""

from contextlib import nullcontext

import pytest
import torch
from golden_format import golden, set_constant

from manyheads.execution.inductor import compiled_function, warmup
from manyheads.execution.inductor.signature import signature_of
from manyheads.execution.inductor.trace import trace


@pytest.fixture
def no_compiler(request, monkeypatch):
    """No headers are precompiled and none waited for, but in slow tests."""
    if "slow" not in request.keywords:
        monkeypatch.setattr(warmup, "parallel_compilation", lambda options: nullcontext())


@pytest.fixture
def bins_of_golden(monkeypatch):
    """Two-hot heads have as many bins as the golden set."""
    set_constant(monkeypatch, "BINS", len(golden("transforms")["twohot_bins"]))


_traced = {}


@pytest.fixture
def traced_once(request, monkeypatch):
    """A function is traced once for arguments of a kind, whichever test asks first: it takes half a second."""

    def once(function, args, tensors, summed):
        wanted = [x.requires_grad for x in tensors] if torch.is_grad_enabled() else []
        kind = function, summed, signature_of(args, []), *wanted
        if kind not in _traced:
            _traced[kind] = trace(function, args, tensors, summed)
        return _traced[kind]

    if "slow" not in request.keywords:  # a compiler takes graphs as its own
        monkeypatch.setattr(compiled_function, "trace", once)
