"""Every environment of Gymnasium's registry, as `gymnasium/<id>`; classic control has named signals."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from manyheads.environment.contract import Environment, Options
from manyheads.hookspecs import hookimpl

if TYPE_CHECKING:
    import gymnasium

NEEDS = {
    "gymnasium.envs.mujoco": (("mujoco", "imageio"), "mujoco"),
    "gymnasium.envs.box2d": (("Box2D",), "box2d"),
    "gymnasium.envs.phys2d": (("jax",), "jax"),
    "gymnasium.envs.tabular": (("jax",), "jax"),
}
"""Packages of Gymnasium: the modules that they need, and the extra that installs those."""

ELSEWHERE = ("minigrid",)
"""Packages that register ids when they are imported, and have a plugin of their own that offers them."""


class GymnasiumOptions(Options):
    """Options of every id."""

    image_size: Annotated[int, Field(ge=16, le=512)] | None = None
    """side in pixels of a rendered picture beside the observation; None: no picture"""


@hookimpl
def register_environments(register: Callable[[Environment], None]) -> None:
    from gymnasium.envs.registration import registry

    from manyheads_gymnasium.overlays import OVERLAYS

    for id, spec in sorted(registry.items()):
        if not isinstance(spec.entry_point, str):
            # Gymnasium keeps ids of simulators that have moved elsewhere, with functions that raise.
            continue
        if spec.entry_point.partition(".")[0] in ELSEWHERE:
            continue
        requires, extra = NEEDS.get(spec.entry_point.partition(":")[0].rpartition(".")[0], ((), ""))
        overlay = OVERLAYS.get(id)
        register(
            Environment(
                name=f"gymnasium/{id}",
                factory=_factory(id),
                signals=overlay.signals if overlay else (),
                measure=overlay.read if overlay else None,
                options=GymnasiumOptions,
                requires=requires,
                extra=extra,
                description=f"Gymnasium's {id}",
                goals_need="" if overlay else _how_to_name(id),
            )
        )


def _factory(id: str) -> Callable[[GymnasiumOptions], gymnasium.Env[Any, Any]]:
    def make(options: GymnasiumOptions) -> gymnasium.Env[Any, Any]:
        from manyheads_gymnasium.simulator import build

        return build(id, options.image_size)

    return make


def _how_to_name(id: str) -> str:
    return (
        f"Name what the observations of {id} mean in a plugin (`manyheads new plugin NAME`): an Environment with "
        "`signals=(Signal('height', 'm', description='metres above the ground'),)` and "
        "`measure=lambda env, observation: {'height': observation[0]}`."
    )
