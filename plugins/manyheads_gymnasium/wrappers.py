"""Wrappers that Gymnasium lacks: actions repeated, pictures added, and pictures read, resized and grey."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs
from PIL import Image

from manyheads.environment.pictures import PictureReader, is_picture
from manyheads.errors import ManyheadsError

Step = tuple[Any, Any, bool, bool, dict[str, Any]]


class ActionRepeat(gymnasium.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Carries out each action `times` times, or until the episode ends; rewards are summed."""

    def __init__(self, env: gymnasium.Env[Any, Any], times: int) -> None:
        RecordConstructorArgs.__init__(self, times=times)
        gymnasium.Wrapper.__init__(self, env)
        self.repeated = times

    def step(self, action: Any) -> Step:
        total = 0.0
        for _ in range(self.repeated):
            observation, reward, terminated, truncated, info = self.env.step(action)
            total += float(reward)
            if terminated or truncated:
                break
        return observation, total, terminated, truncated, info


class AddPicture(gymnasium.ObservationWrapper[Any, Any, Any], RecordConstructorArgs):
    """Observations as a Dict of `image`, a rendered square of side `size`, and `observation`."""

    def __init__(self, env: gymnasium.Env[Any, Any], size: int) -> None:
        RecordConstructorArgs.__init__(self, size=size)
        gymnasium.ObservationWrapper.__init__(self, env)
        self._size = (size, size)
        if env.render_mode != "rgb_array":
            raise ManyheadsError(f"{env.spec and env.spec.id} draws no pictures. Leave image_size out.")
        image = spaces.Box(0, 255, (size, size, 3), np.uint8)
        self.observation_space = spaces.Dict({"image": image, "observation": env.observation_space})

    def observation(self, observation: Any) -> dict[str, Any]:
        try:
            picture = np.asarray(self.env.render(), np.uint8)
        except gymnasium.error.DependencyNotInstalled as error:
            raise ManyheadsError(f"Pictures need more: {error}") from error
        small = Image.fromarray(picture).resize(self._size, Image.Resampling.BILINEAR)
        return {"image": np.asarray(small), "observation": observation}


class ReadPictures(gymnasium.ObservationWrapper[Any, Any, Any], RecordConstructorArgs):
    """Every observed picture as (H, W, C) uint8: of side `size` where it is given, of one channel where `grey`."""

    def __init__(self, env: gymnasium.Env[Any, Any], size: int | None, grey: bool) -> None:
        RecordConstructorArgs.__init__(self, size=size, grey=grey)
        gymnasium.ObservationWrapper.__init__(self, env)
        self._size, self._grey = size, grey
        self._readers: dict[int, PictureReader] = {}
        self.observation_space = self._declare(env.observation_space)

    def observation(self, observation: Any) -> Any:
        return self._read(self.env.observation_space, observation)

    def _declare(self, space: spaces.Space[Any]) -> spaces.Space[Any]:
        if isinstance(space, spaces.Dict):
            return spaces.Dict({key: self._declare(part) for key, part in space.spaces.items()})
        if isinstance(space, spaces.Tuple):
            return spaces.Tuple([self._declare(part) for part in space.spaces])
        if not isinstance(space, spaces.Box) or not is_picture(space):
            return space
        reader = self._readers[id(space)] = PictureReader(space, self._size)
        height, width, channels = reader.shape
        return spaces.Box(0, 255, (height, width, 1 if self._grey and channels == 3 else channels), np.uint8)

    def _read(self, space: spaces.Space[Any], value: Any) -> Any:
        if isinstance(space, spaces.Dict):
            return {key: self._read(part, value[key]) for key, part in space.spaces.items()}
        if isinstance(space, spaces.Tuple):
            return tuple(self._read(part, value[k]) for k, part in enumerate(space.spaces))
        reader = self._readers.get(id(space))
        if reader is None:
            return value
        try:
            picture = reader(np.asarray(value))
        except ValueError as error:
            raise ManyheadsError(
                f"An observed picture does not fit its space {space.shape} {space.dtype}: {error}."
            ) from None
        if self._grey and picture.shape[-1] == 3:
            return np.asarray(Image.fromarray(picture).convert("L"))[..., None]
        return picture


def observes_picture(space: spaces.Space[Any]) -> bool:
    """Whether a space, or a part of it, holds pictures."""
    if isinstance(space, spaces.Dict):
        return any(map(observes_picture, space.spaces.values()))
    if isinstance(space, spaces.Tuple):
        return any(map(observes_picture, space.spaces))
    return is_picture(space)
