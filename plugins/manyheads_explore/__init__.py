"""Exploration without a task: a reward from what a world model does not know yet, and a head that acts at random."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pydantic import Field

from manyheads import HeadKind, LazyHeadKind
from manyheads.hookspecs import hookimpl
from manyheads.rewards.contract import RewardKind
from manyheads.rewards.sources import SourceSettings

if TYPE_CHECKING:
    from manyheads.environment.contract import Instance
    from manyheads_explore.disagreement import Disagreement


class DisagreementSettings(SourceSettings):
    """The ensemble of Plan2Explore."""

    members: int = Field(default=5, ge=2, description="predictors of the next latent")
    layers: int = Field(default=2, ge=1, description="of each")


def _build(settings: DisagreementSettings, instance: Instance) -> Disagreement:
    from manyheads_explore.disagreement import Disagreement

    return Disagreement(settings.members, settings.layers)


@hookimpl
def register_rewards(register: Callable[[RewardKind], None]) -> None:
    register(
        RewardKind(
            "explore/disagreement",
            DisagreementSettings,
            _build,
            "how far predictors of the next latent disagree (Plan2Explore): explores without a task",
        )
    )


@hookimpl
def register_heads(register: Callable[[HeadKind | LazyHeadKind], None]) -> None:
    register(
        LazyHeadKind(
            "explore/held_random",
            where="manyheads_explore.held_random:KIND",
            description="acts at random, each action held for some steps; nothing to train",
        )
    )
