"""What is measured of a machine: seconds, memory, the rate of its products; and how it is shown."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import click
import torch
from rich.console import Console
from rich.table import Table


def timed(function: Callable[[], object]) -> float:
    """Seconds of one call, until the device has done its work."""
    start = time.perf_counter()
    function()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def device_name(device: str) -> str:
    """What does the work, by its own name."""
    return torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine()


def gemm_gflops(device: str, dtype: torch.dtype, size: int = 2048) -> float:
    """What this machine reaches in matrix products of a type, in 1e9 operations a second."""
    a = torch.randn(size, size, dtype=dtype, device=device)
    best = min(timed(lambda: (a @ a).sum().item()) for _ in range(12))
    return 2 * size**3 / best / 1e9


def forget_peak_memory(device: str, process: int | Literal["self"] = "self") -> None:
    """Starts a new peak, so that compiling does not count."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    elif (references := Path(f"/proc/{process}/clear_refs")).exists():
        references.write_text("5")


def peak_memory_mb(device: str, process: int | Literal["self"] = "self") -> float | None:
    """The device's, or on a CPU the process's, largest memory; None where the system does not say."""
    if device == "cuda":
        return torch.cuda.max_memory_reserved() / 1e6  # with the pools of captured graphs
    status = Path(f"/proc/{process}/status")
    if not status.exists():
        return None
    kilobytes = next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(kilobytes) * 1024 / 1e6


def show(title: str, result: Mapping[str, Any], as_json: bool) -> None:
    """Prints what was measured as one JSON object or as a table, a line each."""
    if as_json:
        click.echo(json.dumps(result, indent=1))
        return
    view = Table(title=title, show_header=False)
    view.add_column()
    view.add_column(justify="right")
    for name, value in result.items():
        if isinstance(value, Mapping):
            view.add_row(name, "")
        for key, number in value.items() if isinstance(value, Mapping) else [(name, value)]:
            view.add_row(f"  {key}" if isinstance(value, Mapping) else key, _cell(number))
    Console().print(view)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}" if abs(value) >= 1 else f"{value:.3f}"
    return str(value)
