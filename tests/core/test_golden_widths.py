"""No size is typed into the golden tests: they pass on a set of other widths, too."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from golden_format import set_constant
from golden_writer import write_golden

HERE = Path(__file__).parent


@pytest.fixture
def other_set(tmp_path, monkeypatch):
    set_constant(monkeypatch, "BINS", 63)
    state = torch.random.get_rng_state()
    write_golden(tmp_path)
    torch.random.set_rng_state(state)
    return tmp_path


def test_golden_tests_on_other_widths(other_set):
    files = [HERE / name for name in ("test_golden.py", "test_golden_agent.py")]
    found = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *files],
        cwd=HERE.parents[1],
        env=os.environ | {"MANYHEADS_GOLDEN": str(other_set)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout
