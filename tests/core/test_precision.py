"""Large products are in bfloat16 where, and only where, the machine has instructions for them."""

import pytest
import torch
from small_agent import small_world

from manyheads.execution import precision
from manyheads.learning.device import accelerate
from manyheads.settings import TrainingSettings


def with_instructions(monkeypatch, *names):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, **dict.fromkeys(names, True)})


@pytest.mark.parametrize("instructions", ["avx512_bf16", "amx_bf16", "bf16"])
def test_auto_is_bfloat16_where_the_cpu_has_instructions_for_it(monkeypatch, instructions):
    with_instructions(monkeypatch, instructions)
    assert precision.compute_dtype("auto", "cpu") is torch.bfloat16
    assert precision.compute_dtype("float32", "cpu") is torch.float32


def test_auto_is_float32_where_it_has_none(monkeypatch):
    with_instructions(monkeypatch)
    assert precision.compute_dtype("auto", "cpu") is torch.float32
    assert precision.compute_dtype("bfloat16", "cpu") is torch.bfloat16


@pytest.mark.parametrize(("emulated", "dtype"), [(False, torch.bfloat16), (True, torch.float32)])
def test_a_gpu_that_only_emulates_them_has_none(monkeypatch, emulated, dtype):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: not emulated)
    assert precision.compute_dtype("auto", "cuda") is dtype


def test_auto_is_what_runs_where_nothing_is_said(monkeypatch, capsys):
    with_instructions(monkeypatch)
    world = small_world()
    accelerate(world, TrainingSettings(compile=False))
    assert world.execution.compute_dtype is torch.float32
    assert not capsys.readouterr().err


def test_bfloat16_asked_for_without_instructions_is_done_with_a_warning(monkeypatch, capsys):
    with_instructions(monkeypatch)
    world = small_world()
    accelerate(world, TrainingSettings(compile=False, precision="bfloat16"))
    assert world.execution.compute_dtype is torch.bfloat16
    assert "--set training.precision=auto" in capsys.readouterr().err
