"""How computations run on this machine, and what takes over where a version of torch lacks something."""

import os
import subprocess
import sys

import pytest
import torch
from small_agent import VECTOR, random_batch, small_head, small_learner, small_world

from manyheads.execution import select
from manyheads.execution.select import Choice, choose, make_execution
from manyheads.learning.device import accelerate
from manyheads.settings import TrainingSettings


@pytest.fixture(autouse=True)
def _choose_again():
    choose.cache_clear()
    select._say_once.cache_clear()
    yield
    choose.cache_clear()


def take_inductor_away(monkeypatch):
    """As if this version of torch had no such module."""
    monkeypatch.setitem(sys.modules, "torch._inductor.compile_fx", None)


def change_a_signature(monkeypatch):
    """As if a private function of torch took other arguments now."""
    from torch._inductor import compile_fx

    monkeypatch.setattr(compile_fx, "compile_fx_inner", lambda graph: graph)


def give_wrong_numbers(monkeypatch):
    """As if code were generated that computes something else."""
    from manyheads.execution.inductor import execution

    def wrong(traced, options):
        return lambda *args: [2 * x for x in traced.forward(*args)], traced.backward

    monkeypatch.setattr(execution, "generate_code", wrong)


def fail_to_compile(monkeypatch):
    take_inductor_away(monkeypatch)

    def compile(function, **options):
        raise RuntimeError("this torch compiles nothing")

    monkeypatch.setattr(torch, "compile", compile)


def torch_compile_as_eager(monkeypatch):
    """`torch.compile` works, without the minute that it takes."""
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)


@pytest.mark.parametrize("break_it", [take_inductor_away, change_a_signature, give_wrong_numbers])
def test_torch_compile_takes_over_where_the_quick_compiler_fails(break_it, monkeypatch, capsys):
    torch_compile_as_eager(monkeypatch)
    break_it(monkeypatch)
    for _ in range(2):
        assert make_execution("cpu").name == "torch.compile"
    said = capsys.readouterr().err
    assert said.count("quick compiler") == 1, "said once"
    assert f"does not work with torch {torch.__version__}" in said
    assert "Using torch.compile instead" in said


def test_eager_execution_takes_over_where_nothing_compiles(monkeypatch, capsys):
    fail_to_compile(monkeypatch)
    assert make_execution("cpu").name == "eager"
    assert "this torch compiles nothing" in capsys.readouterr().err
    assert choose("cpu").way == "eager"
    assert len(choose("cpu").problems) == 2


def test_settings_and_a_missing_compiler_ask_for_eager_execution(monkeypatch, capsys):
    assert make_execution("cpu", compile=False).name == "eager"
    assert not capsys.readouterr().err
    monkeypatch.setattr(select, "cpp_compiler", lambda: None)
    assert make_execution("cpu").name == "eager"
    assert "Install g++" in capsys.readouterr().err


def test_an_update_learns_the_same_whatever_takes_over(monkeypatch):
    found = []
    for break_it in (None, take_inductor_away, fail_to_compile):
        with monkeypatch.context() as patch:
            torch_compile_as_eager(patch)
            if break_it is not None:
                choose.cache_clear()
                break_it(patch)
            world = small_world(VECTOR)
            heads = {"task": small_head(world)}
            accelerate(world, TrainingSettings(compile=break_it is not None, precision="float32"))
            batch, labels, *masks = random_batch(world)
            learner = small_learner(world, heads)
            metrics = [learner.update(batch, {"task": labels}, *masks).metrics for _ in range(2)][-1]
            found.append((world.execution.name, metrics))
    assert [name for name, _ in found] == ["eager", "torch.compile", "eager"]
    for _, metrics in found[1:]:
        assert metrics == pytest.approx(found[0][1], rel=1e-4, abs=1e-5)


@pytest.mark.slow
def test_both_compilers_work_on_this_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    assert choose("cpu") == Choice("quick compiler", ())
    choose.cache_clear()
    take_inductor_away(monkeypatch)
    monkeypatch.delitem(sys.modules, "torch._inductor.compile_fx")
    change_a_signature(monkeypatch)
    assert choose("cpu").way in ("torch.compile", "eager")


def test_compiled_code_is_kept_even_where_the_compiler_was_imported_before(tmp_path):
    """A language model imports it, too: what is compiled after a goal must be there for the next command."""
    environment = {name: value for name, value in os.environ.items() if name != "TORCHINDUCTOR_CACHE_DIR"}
    found = subprocess.run(
        [sys.executable, "-c", "import manyheads, torch._dynamo, os; print(os.environ['TORCHINDUCTOR_CACHE_DIR'])"],
        env=environment | {"XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == str(tmp_path / "manyheads" / "inductor")
