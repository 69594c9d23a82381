"""Turns on the fast path of a world: compiled regions, short products where they are large."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
import warnings
from pathlib import Path

import torch

from manyheads.errors import ManyheadsError
from manyheads.learning.inductor import quicken_compiler
from manyheads.learning.precision import multiplies_bfloat16, product_type
from manyheads.learning.settings import TrainingSettings
from manyheads.world.execution import Compiled, Execution
from manyheads.world.model import World

OPTIONS = {
    "cpu": {
        "cpp.enable_loop_tail_vec": False,  # most tails are empty, and a loop would be written once more for each
        "cpp.use_decompose_tanh": True,
        "cpp_wrapper": True,
        "cpp.vec_isa_ok": True,  # a compiler of C++20 has them all; trying takes eight seconds, and two a run later
    },
    "cuda": {},
}

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""malloc.h"""

CHATTER = (
    r"\s*(Online softmax is disabled|TensorFloat32 tensor cores|The AccumulateGrad node's stream|torch.searchsorted)"
)
"""what torch warns of and is meant so: on a GPU float32 is exact, and two streams may train the same weights; the
compiler chooses the order in memory of what is looked up"""

SLOW = (
    "training.precision is bfloat16, but this machine has no instructions for products in bfloat16: they take hundreds "
    "of times as long as float32's. Set it to auto (`--set training.precision=auto`, or in an existing world's "
    "world.yaml)."
)

TRAIN_ON_CPU = "Set it to cpu (`--set training.device=cpu`, or in an existing world's world.yaml)"


def check_device(device: str, name: str = "training.device", instead: str = TRAIN_ON_CPU) -> None:
    """Raises ManyheadsError where this machine lacks the device that `name` asks for; `instead`: what to do then."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ManyheadsError(
            f"{name} is cuda, but torch finds no CUDA device here. {instead}; `manyheads doctor` says what this "
            "machine has."
        )


def accelerate(world: World, settings: TrainingSettings) -> None:
    """Lets a world, and the heads trained on it, run as the settings say; the plain path is the definition."""
    dtype = product_type(settings.precision, world.device.type)
    if dtype is torch.bfloat16 and not multiplies_bfloat16(world.device.type):
        print(SLOW, file=sys.stderr)
    if not settings.compile:
        world.execution = Execution(dtype)
    elif world.device.type == "cpu" and not compiler():
        print(
            "No C++ compiler was found, so training runs uncompiled, several times slower. Install g++ or clang++, "
            "or name one in the environment variable CXX; --set training.compile=false ends this message.",
            file=sys.stderr,
        )
        world.execution = Execution(dtype)
    else:
        if not cache_folder().exists():
            print(
                "The first update takes a minute or more: its parts are compiled, once, and kept in "
                f"{cache_folder()} for later runs.",
                file=sys.stderr,
            )
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder()))
        if world.device.type == "cpu":
            quicken_compiler()
        keep_freed_memory()
        warnings.filterwarnings("ignore", CHATTER)
        world.execution = Compiled(dtype, OPTIONS[world.device.type], capture=world.device.type == "cuda")


def compiler() -> str | None:
    """The C++ compiler that torch will use on a CPU, if there is one."""
    return os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")


def keep_freed_memory() -> None:
    """Asks the C library to keep what is freed: giving pages back and getting them anew is a third of an update."""
    allocator = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if allocator is not None:
        allocator(M_TRIM_THRESHOLD, -1)
        allocator(M_MMAP_MAX, 0)


def give_back_memory() -> None:
    """Gives what the C library keeps back once: where the next updates need less than the work before."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def cache_folder() -> Path:
    """Where compiled regions are kept across runs."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("TORCHINDUCTOR_CACHE_DIR") or root / "manyheads" / "inductor")
