"""The episodes of a task: so many steps at most, the first from a given seed."""

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium.utils import RecordConstructorArgs
from gymnasium.wrappers import TimeLimit


class FirstSeed(gymnasium.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Resets with `seed` the first time; a seed given to `reset` itself goes first."""

    def __init__(self, env: gymnasium.Env[Any, Any], seed: int) -> None:
        RecordConstructorArgs.__init__(self, seed=seed)
        gymnasium.Wrapper.__init__(self, env)
        self._seed: int | None = seed

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        seed = self._seed if seed is None else seed
        self._seed = None
        return self.env.reset(seed=seed, options=options)


def limit_episodes(env: gymnasium.Env[Any, Any], steps: int, seed: int | None = None) -> gymnasium.Env[Any, Any]:
    """`env` whose episodes are truncated after `steps` steps, and whose first reset uses `seed`."""
    limited = TimeLimit(env, steps)
    return limited if seed is None else FirstSeed(limited, seed)
