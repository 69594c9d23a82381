"""The episodes of a task: so many steps at most, the first from a given seed."""

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium.utils import RecordConstructorArgs
from gymnasium.wrappers import TimeLimit

from manyheads.environment.notice import note_once


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
    own = own_limit(env)
    if own is not None and own < steps:
        owner = env.get_wrapper_attr("owner") if env.has_wrapper_attr("owner") else str(env.unwrapped)
        note_once(
            f"{owner} ends its episodes after {own} steps; the task's episode_steps: {steps} are never reached. Where "
            "there is an option max_episode_steps, it sets the environment's own limit."
        )
    limited = TimeLimit(env, steps)
    return limited if seed is None else FirstSeed(limited, seed)


def own_limit(env: gymnasium.Env[Any, Any]) -> int | None:
    """Steps after which an environment's own wrappers truncate an episode at the latest; None where none does."""
    least, repeated = None, 1
    while isinstance(env, gymnasium.Wrapper):
        repeated *= getattr(env, "repeated", 1)
        if isinstance(env, TimeLimit):
            steps = -(-env._max_episode_steps // repeated)
            least = steps if least is None else min(least, steps)
        env = env.env
    return least
