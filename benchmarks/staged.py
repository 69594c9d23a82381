"""Goals of two stages ("first …, then …"): trained in one world an environment, and played.

An episode counts as done where its last stage was entered and the task's success held after that. Ctrl-C saves; the
same command goes on and leaves alone what is done.

    python benchmarks/staged.py FOLDER [--steps 10000] [--seed 0] [--episodes 10] [--json]
"""

from __future__ import annotations
