"""Videos: what happened in the simulator next to what the world model imagined."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import imageio_ffmpeg
import numpy as np
import torch

from manyheads.environment.foreign import words
from manyheads.errors import ManyheadsError
from manyheads.report.drawing import (
    IMAGINED,
    REAL,
    Floats,
    Panel,
    Pixels,
    as_picture,
    line_charts,
    side_by_side,
)
from manyheads.report.rollouts import ImaginedRollout, PlayedEpisode, imagine, play

if TYPE_CHECKING:
    import gymnasium

    from manyheads.heads.contract import Head
    from manyheads.task import Task
    from manyheads.world.model import World

FPS = 16.0
"""pictures a second, about: drawing them takes most of the time, so rows of faster simulators are left out"""


@dataclass(frozen=True)
class Clip:
    """A real episode next to its imagination, and how far the two came apart."""

    panels: tuple[Panel, ...]
    fps: float
    played: PlayedEpisode
    context: int
    """rows that the world saw before it continued alone"""
    error: Floats
    """(T - context,) mean distance of imagined from real entries, in their standard deviations; of those that move"""

    def write(self, path: Path) -> None:
        """Writes the clip as an mp4."""
        write_video(side_by_side(self.panels), path, self.fps)


def real_and_imagined(world: World, head: Head, task: Task, seed: int = 0, steps: int = 300, context: int = 10) -> Clip:
    """Plays an episode of `task`, lets the world see `context` rows of it (half of a shorter one), imagines the rest.

    Twice: with the very actions of the real episode, and with actions that the head chooses in imagination.
    """
    with _named(task), closing(task.instance.make()) as env:
        rate = float(env.metadata.get("render_fps") or FPS)
        every = max(1, round(rate / FPS))
        played = play(world, head, task, env, seed, steps, every)
        context = min(context, len(played.vector) // 2)
        same = imagine(world, played, context, None, seed)
        own = imagine(world, played, context, head, seed)
        panels = _panels(played, env, same, own, context)
    return Clip(panels, rate / every, played, context, _error(played, same.vector, context))


@contextmanager
def _named(task: Task) -> Iterator[None]:
    """What the simulator raises while it is played and drawn becomes a ManyheadsError that names the task."""
    try:
        yield
    except (ManyheadsError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # whatever a plugin raises, other heads are shown
        raise ManyheadsError(
            f"{task.name} can't be played and drawn: {words(error)}. If it is about a screen, set "
            "the environment variable MUJOCO_GL=egl (or osmesa); `manyheads doctor` says which one works."
        ) from error


def _panels(
    played: PlayedEpisode, env: gymnasium.Env[Any, Any], same: ImaginedRollout, own: ImaginedRollout, context: int
) -> tuple[Panel, ...]:
    """Pictures where the world sees pictures or the simulator can draw an observation, else charts."""
    rewards = enumerate(zip(played.reward, played.reward.cumsum(), strict=True))
    notes = [f"step {at}    reward {reward:.2f}    in all {total:.1f}" for at, (reward, total) in rewards]
    alone = [
        f"sees the simulator, {context - at} more" if at < context else f"{at - context + 1} steps on its own"
        for at in range(len(notes))
    ]
    shown, alone = notes[:: played.every], alone[:: played.every]
    frames = played.frames if played.image is None else _as_pictures(played.image, played.every)
    real = [Panel("real", frames, shown, REAL)] if frames else []
    drawn = [_view(played, env, same), _view(played, env, own)]
    if drawn[0] is not None and drawn[1] is not None:
        first = Panel("imagined, same actions", drawn[0], alone, IMAGINED)
        return (*real, first, Panel("imagined, own actions", drawn[1], alone, IMAGINED))
    fit = played.layout_map
    names = fit.layout.shared().vector
    charts = line_charts(names, fit.unmap_vector(played.vector), fit.unmap_vector(same.vector), context)
    return (*real, Panel("real solid, imagined dashed", charts[:: played.every], alone, IMAGINED))


def _view(played: PlayedEpisode, env: gymnasium.Env[Any, Any], imagined: ImaginedRollout) -> list[Pixels] | None:
    if played.image is not None and imagined.image is not None:
        return _as_pictures(imagined.image, played.every)
    return played.pictures(env, imagined.vector)


def _as_pictures(images: Pixels, every: int) -> list[Pixels]:
    return [as_picture(image) for image in images[::every]]


def write_video(frames: Iterable[Pixels], path: Path, fps: float = FPS) -> None:
    """Atomically writes (h, w, 3) uint8 pictures of one size as an mp4 for browsers (H.264, yuv420p)."""
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise ManyheadsError(f"There is no picture to write into {path}.")
    part = path.with_name(f".{path.stem}.part.mp4")
    height, width = _even(first).shape[:2]
    writer = imageio_ffmpeg.write_frames(
        str(part),
        (width, height),
        fps=fps,
        codec="libx264",
        quality=None,
        macro_block_size=2,
        output_params=["-crf", "26", "-preset", "medium", "-movflags", "+faststart"],
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        writer.send(None)
        for frame in chain([first], frames):
            writer.send(np.ascontiguousarray(_even(frame)))
        writer.close()
        part.replace(path)
    except OSError as error:
        raise ManyheadsError(f"Could not write {path}: {error.strerror or error}. Choose another place.") from error
    finally:
        writer.close()
        with suppress(OSError):  # its folder may be none, which was said above
            part.unlink(missing_ok=True)


def _even(frame: Pixels) -> Pixels:
    """Pads by a row or a column, since yuv420p halves both sides."""
    return np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), mode="edge")


def _error(played: PlayedEpisode, imagined: Floats, context: int) -> Floats:
    real, imagined = played.layout_map.unmap_vector(played.vector), played.layout_map.unmap_vector(imagined)
    moves = real.std(0) > 1e-3
    if not moves.any():
        return np.zeros(len(real) - context)
    distance = np.abs(real - imagined)[context:, moves] / real.std(0)[moves]
    means: Floats = distance.mean(1)
    return means
