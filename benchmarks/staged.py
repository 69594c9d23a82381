"""Goals of two stages ("first …, then …"): trained in one world an environment, and played.

An episode counts as done where its last stage was entered and the task's success held after that. Ctrl-C saves; the
same command goes on and leaves alone what is done.

    python benchmarks/staged.py FOLDER [--steps 10000] [--seed 0] [--episodes 10] [--json]
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from variants import is_done, manyheads

from manyheads import atomic
from manyheads.learning.evaluate import play_rows
from manyheads.rewards.sources import SpecSource, successes
from manyheads.rewards.spec import width
from manyheads.storage.agent import load
from manyheads.storage.evaluations import FILE
