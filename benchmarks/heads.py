"""Time of an update with 1, 2, 4, 8, 16 heads: trained as one batch, and one by one.

python benchmarks/heads.py [--workload demo|proprio-1m] [--heads 1,2,4,8,16] [--uncompiled] [--cpu-time] [--json]

On a machine that others use, `--cpu-time` counts the seconds that this process computed, with one thread.

Twice: with a constant number of imagined trajectories in all, dealt out among the heads; and with a constant number per
head (`--sequences` of the batch). Ways take turns, so that a machine that slows down slows all; shown is the median.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import click
import torch

from manyheads.execution.compiled import CompiledExecution
from manyheads.fused import REPLACEMENTS
from manyheads.learning.workload import WORKLOADS, SyntheticLearner, Workload

WAYS = {"one batch": 1, "one by one": 0}
"""from how many heads on they are stacked"""


class Uncompiled(CompiledExecution):
    """The faster forms of functions, as they are written."""

    def compile(self, function):
        return function


@click.command()
@click.option("--workload", default="demo", show_default=True, type=click.Choice([*WORKLOADS]))
@click.option("--heads", default="1,2,4,8,16", show_default=True, help="numbers of heads")
@click.option("--sequences", default=4, show_default=True, help="that each head imagines from, where constant")
@click.option("--device", default="cpu", show_default=True, type=click.Choice(["cpu", "cuda"]))
@click.option("--threads", type=click.IntRange(min=1), help="threads of the CPU  [default: all cores]")
@click.option("--rounds", default=20, show_default=True, type=click.IntRange(min=3))
@click.option("--uncompiled", is_flag=True, help="the same passes, without a compiler's minutes")
@click.option("--cpu-time", is_flag=True, help="seconds of one thread's work, not of the clock on the wall")
@click.option("--json", "as_json", is_flag=True, help="one JSON object instead of a table")
def main(
    workload: str,
    heads: str,
    sequences: int,
    device: Literal["cpu", "cuda"],
    threads: int | None,
    rounds: int,
    uncompiled: bool,
    cpu_time: bool,
    as_json: bool,
) -> None:
    """Time updates with several heads."""
    if cpu_time or threads:
        torch.set_num_threads(1 if cpu_time else threads or 1)
    clock = time.process_time if cpu_time else time.perf_counter
    numbers = [int(number) for number in heads.split(",")]
    result: dict[str, object] = {"workload": workload, "threads": torch.get_num_threads()}
    for title, per_head in (("trajectories constant in all", None), (f"{sequences} sequences per head", sequences)):
        table: dict[str, dict[int, float]] = {way: {} for way in WAYS}
        for number in numbers:
            load = replace(WORKLOADS[workload], heads=number, starts_per_head=per_head)
            for way, seconds in times(load, device, rounds, uncompiled, clock).items():
                table[way][number] = 1000 * seconds
        result[title] = table
        if not as_json:
            show(title, table)
    if as_json:
        click.echo(json.dumps(result))


def times(
    load: Workload, device: Literal["cpu", "cuda"], rounds: int, uncompiled: bool, clock: Callable[[], float]
) -> dict[str, float]:
    """Median seconds of an update, by way."""
    works = {way: SyntheticLearner(load, device, fast=not uncompiled, stack_from=least) for way, least in WAYS.items()}
    for work in works.values():
        if uncompiled:
            work.world.execution = Uncompiled(replacements=REPLACEMENTS)
        for _ in range(5 if device == "cuda" else 2):
            work.update()
    found: dict[str, list[float]] = {way: [] for way in works}
    for _ in range(rounds):
        for way, work in works.items():
            begun = clock()
            work.update()
            found[way].append(clock() - begun)
    return {way: statistics.median(seconds) for way, seconds in found.items()}


def show(title: str, table: dict[str, dict[int, float]]) -> None:
    """Milliseconds, and how many times one head's."""
    click.echo(f"\n{title}: ms an update (times one head's)")
    for way, row in table.items():
        one = row[min(row)]
        click.echo(f"  {way:12}" + "".join(f"{number:>4}: {ms:7.1f} ({ms / one:4.2f})" for number, ms in row.items()))


if __name__ == "__main__":
    main()
