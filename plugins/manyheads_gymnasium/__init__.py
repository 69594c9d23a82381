"""Every environment of Gymnasium's registry, as `gymnasium/<id>`; classic control has named signals.

`gymnasium/<module>:<id>` imports the module that registers the id, as `gymnasium.make` does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from manyheads.environment.contract import Environment, KeyRule
from manyheads.hookspecs import hookimpl
from manyheads_gymnasium.options import GymnasiumOptions

if TYPE_CHECKING:
    import gymnasium
    from gymnasium.envs.registration import EnvSpec

NEEDS = {
    "gymnasium.envs.mujoco": (("mujoco", "imageio"), "mujoco"),
    "gymnasium.envs.box2d": (("Box2D",), "box2d"),
    "gymnasium.envs.phys2d": (("jax",), "jax"),
    "gymnasium.envs.tabular": (("jax",), "jax"),
}
"""Packages of Gymnasium: the modules that they need, and the extra that installs those."""

ELSEWHERE = ("minigrid",)
"""Packages that register ids when they are imported, and have their own plugin that lists them."""


@hookimpl
def register_environments(register: Callable[[Environment], None]) -> None:
    from gymnasium.envs.registration import registry

    for _, spec in sorted(registry.items()):
        if not _has_moved(spec) and str(spec.entry_point).partition(".")[0] not in ELSEWHERE:
            register(_declare(spec.id, spec))


@hookimpl
def find_environment(name: str) -> Environment | None:
    """An id that a package registers as it is imported is called gymnasium/MODULE:ID."""
    return _found(name.removeprefix("gymnasium/"))


@cache
def _found(id: str) -> Environment | None:
    from manyheads_gymnasium.ids import find_spec

    spec = find_spec(id)
    return None if spec is None or _has_moved(spec) else _declare(id, spec)


def _has_moved(spec: EnvSpec) -> bool:
    """Gymnasium keeps ids of simulators that have moved elsewhere, with functions of its own that raise."""
    entry = spec.entry_point
    return callable(entry) and getattr(entry, "__module__", "") == "gymnasium.envs"


def _declare(id: str, spec: EnvSpec) -> Environment:
    from manyheads_gymnasium.overlays import OVERLAYS

    requires, extra = _needs(spec)
    overlay = OVERLAYS.get(id)
    return Environment(
        name=f"gymnasium/{id}",
        factory=partial(_make, spec, id.rpartition(":")[0]),
        signals=overlay.signals if overlay else (),
        measure=overlay.read if overlay else None,
        options=GymnasiumOptions,
        observation_keys=_observation_keys,
        episode_steps=partial(_episode_steps, spec),
        requires=requires,
        extra=extra,
        description=f"Gymnasium's {id}",
        goals_need="" if overlay else _how_to_name(id),
    )


def _needs(spec: EnvSpec) -> tuple[tuple[str, ...], str]:
    entry = spec.entry_point if isinstance(spec.entry_point, str) else ""
    return NEEDS.get(entry.partition(":")[0].rpartition(".")[0], ((), ""))


def _make(spec: EnvSpec, module: str, options: GymnasiumOptions) -> gymnasium.Env[Any, Any]:
    from manyheads_gymnasium.simulator import build

    return build(spec, module, options)


def _observation_keys(options: GymnasiumOptions) -> Mapping[str, KeyRule]:
    return options.observation_keys


def _episode_steps(spec: EnvSpec, options: GymnasiumOptions) -> int | None:
    """The id's own limit in steps of the instance."""
    steps = options.max_episode_steps or spec.max_episode_steps
    return None if steps is None else -(-steps // options.action_repeat)


def _how_to_name(id: str) -> str:
    return (
        f"Name what the observations of {id} mean in a plugin (`manyheads new plugin NAME`): an Environment with "
        "`signals=(Signal('height', 'm', description='metres above the ground'),)` and "
        "`measure=lambda env, observation: {'height': observation[0]}`."
    )
