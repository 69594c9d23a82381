"""Options of every id of Gymnasium's registry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from manyheads.environment.contract import KeyRule, Options


class GymnasiumOptions(Options):
    """What is changed about an id; without options it is as `gymnasium.make` builds it."""

    kwargs: dict[str, Any] = Field(default={})
    """keyword arguments of the environment itself, as `gymnasium.make` takes them"""
    action_repeat: Annotated[int, Field(ge=1)] = 1
    """times that an action is carried out; rewards are summed"""
    frame_stack: Annotated[int, Field(ge=1)] = 1
    """observations that are shown at once, oldest first; at a reset the first one repeats"""
    grey: bool = False
    """one channel for each observed picture of three"""
    image_size: Annotated[int, Field(ge=16, le=512)] | None = None
    """side in pixels of observed pictures; where none is observed, a rendered one is added to the observation"""
    max_episode_steps: Annotated[int, Field(ge=1)] | None = None
    """steps (of the id, before any action repeat) until an episode is truncated, in place of the registered number"""
    observation_keys: dict[str, KeyRule] = Field(default={})
    """keys of the observation that are dropped, coded one-hot or read as text"""

    @model_serializer(mode="wrap")
    def _short(self, write: SerializerFunctionWrapHandler) -> Mapping[str, Any]:
        """Options at their defaults are left out, but for `image_size`: keys of recorded rows stay what they were."""
        fields = type(self).model_fields
        return {k: v for k, v in write(self).items() if k == "image_size" or v != fields[k].default}
