"""The C++ compiler that torch uses on a CPU, its errors, and the folder where compiled code is kept across runs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def cpp_compiler() -> str | None:
    """The C++ compiler that torch will call, if there is one."""
    return os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")


def cache_folder() -> Path:
    """Where compiled functions are kept across runs."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("TORCHINDUCTOR_CACHE_DIR") or root / "manyheads" / "inductor")


def keep_compiled_code() -> None:
    """Has torch keep compiled functions in `cache_folder()`, unless the user named another folder.

    Must come before anything imports torch's compiler, whose import settles for a temporary folder.
    """
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder()))


def is_compiler_error(error: BaseException) -> bool:
    """Whether torch's compiler raised it: Ctrl-C on a terminal also ends the C++ compiler."""
    return type(error).__module__.startswith(("torch._inductor", "torch._dynamo"))
