"""For tests that compile nothing."""

from contextlib import nullcontext

import pytest

from manyheads.learning import ahead


@pytest.fixture
def no_compiler(request, monkeypatch):
    """No headers are precompiled and none waited for, but in slow tests."""
    if "slow" not in request.keywords:
        monkeypatch.setattr(ahead, "compilers", lambda options: nullcontext())
