"""Videos: what browsers play, and imagination that is what it says."""

from __future__ import annotations

from dataclasses import dataclass, field

import gymnasium
import imageio_ffmpeg
import numpy as np
import pytest
import torch
from gymnasium import spaces

from manyheads.environment.contract import Environment, Signal
from manyheads.environment.layout import SpaceLayout
from manyheads.errors import ManyheadsError
from manyheads.heads.contract import Head, HeadLosses
from manyheads.report.drawing import HEAD, HEIGHT, Panel, as_picture, line_charts, side_by_side
from manyheads.report.rollouts import imagine, play
from manyheads.report.videos import real_and_imagined, write_video
from manyheads.task import Task, TaskFile
from manyheads.world.model import World
from manyheads.world.sizes import WorldSettings


class Counting(gymnasium.Env):
    """A point that moves by the action; draws itself, and draws observations where `draws`."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 50}  # noqa: RUF012
    render_mode = "rgb_array"

    def __init__(self, image: bool = False, ends: int = 1000) -> None:
        parts = {"at": spaces.Box(-np.inf, np.inf, (2,), np.float32)}
        if image:
            parts["image"] = spaces.Box(0, 255, (16, 16, 3), np.uint8)
        self.observation_space = spaces.Dict(parts)
        self.action_space = spaces.Box(-1, 1, (1,), np.float32)
        self.ends = ends

    def _row(self):
        row = {"at": np.array([self.at, self.steps], np.float32)}
        if "image" in self.observation_space.spaces:
            row["image"] = np.full((16, 16, 3), self.steps, np.uint8)
        return row

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at, self.steps = float(self.np_random.uniform()), 0
        return self._row(), {"signals": {"at": self.at}}

    def step(self, action):
        self.at, self.steps = self.at + 0.1 * float(action[0]), self.steps + 1
        return self._row(), self.at, self.steps >= self.ends, False, {"signals": {"at": self.at}}

    def render(self):
        return np.full((48, 64, 3), min(self.steps, 255), np.uint8)


class Drawing(Counting):
    def picture(self, vector):
        return np.full((48, 64, 3), 7, np.uint8)


class Silent(Counting):
    render_mode = None


class Swinging(Head):
    """A head that needs no training: it acts by the state's first number."""

    def act(self, world, latent, state, is_first, generator=None):
        noise = torch.randn(len(latent.deter), 1, generator=generator)
        return torch.tanh(latent.deter[:, :1]) + 0.1 * noise, state

    def losses(self, batch, world, generator=None):
        return HeadLosses({})


def task_of(make, steps=1000):
    environment = Environment("test/counting", lambda options: make(), (Signal("at", "m"),))
    content = TaskFile(version=1, environment="test/counting", reward={"source": "environment"}, episode_steps=steps)
    return Task("test/counting-far", content, environment.instance(), content.reward)


def world_of(image=False):
    torch.manual_seed(0)
    interface = SpaceLayout(image=(16, 16, 3) if image else None, vector=("at[0]", "at[1]"), continuous=("action[0]",))
    settings = WorldSettings(size="demo", deter=16, hidden=8, groups=2, classes=4, units=8, depth=4, mults=(1, 2))
    return World(interface, settings)


def size_of(path):
    reader = imageio_ffmpeg.read_frames(str(path))
    about = next(reader)
    return about, sum(1 for _ in reader)


def test_a_video_plays_in_browsers(tmp_path):
    frames = [np.full((31, 45, 3), 10 * k, np.uint8) for k in range(12)]
    write_video(frames, tmp_path / "a" / "clip.mp4", fps=25)
    about, count = size_of(tmp_path / "a" / "clip.mp4")
    assert about["codec"] == "h264"
    assert about["pix_fmt"].startswith("yuv420p")
    assert about["size"] == (46, 32)  # odd sides are padded
    assert about["fps"] == 25
    assert count == 12
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["clip.mp4"]


def test_an_unfinished_video_leaves_nothing_behind(tmp_path):
    def frames():
        yield np.zeros((32, 32, 3), np.uint8)
        raise RuntimeError("the simulator stopped")

    with pytest.raises(RuntimeError, match="simulator stopped"):
        write_video(frames(), tmp_path / "clip.mp4")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ManyheadsError, match="no picture"):
        write_video([], tmp_path / "clip.mp4")


def test_panels_stand_next_to_each_other():
    left = [np.full((24, 32, 3), 200, np.uint8)] * 3
    right = [np.full((240, 240, 3), 90, np.uint8)] * 5
    frames = list(side_by_side([Panel("real", left, ["step 0"] * 3), Panel("imagined", right)]))
    assert len(frames) == 3
    assert len({frame.shape for frame in frames}) == 1
    middle = frames[0].shape[0] // 2
    assert frames[0][middle, 100].tolist() == [200] * 3
    assert frames[0][middle, 320 + 100].tolist() == [90] * 3


def test_a_panel_is_as_wide_as_its_words():
    narrow = Panel("real", [np.zeros((300, 30, 3), np.uint8)], ["step 20    reward 0.10    in all 1,200.0"])
    second = Panel("imagined", [np.full((24, 32, 3), 90, np.uint8)])
    [alone], [frame] = side_by_side([narrow]), side_by_side([narrow, second])
    words = frame[: HEAD - 1, : alone.shape[1]]
    assert np.array_equal(words, alone[: HEAD - 1])
    assert frame[HEAD + 120, alone.shape[1] + 1].tolist() == [90] * 3


def test_charts_grow_with_time_and_keep_what_moves():
    real = np.zeros((40, 8))
    real[:, 5] = np.sin(np.arange(40) / 5)
    frames = line_charts([f"p{i}" for i in range(8)], real, real + 0.1, imagined_from=10, most=2)
    assert len(frames) == 40
    assert frames[0].shape[0] == HEIGHT
    changed = [int((frames[k + 1] != frames[k]).sum()) for k in range(39)]
    assert all(changed)


@pytest.mark.parametrize("channels", [1, 3, 4, 6])
def test_images_of_any_channels_become_pictures(channels):
    assert as_picture(np.zeros((8, 9, channels), np.uint8)).shape == (8, 9, 3)


def test_imagination_with_the_same_actions_follows_the_model_alone():
    world, task = world_of(), task_of(Counting)
    played = play(world, Swinging(), task, task.instance.make(), seed=3, steps=30)
    assert played.vector.shape == (30, 2)
    assert played.vector[:, 1].tolist() == list(range(30))
    moved = 0.1 * played.action[:-1, 0].clamp(-1, 1).numpy()
    np.testing.assert_allclose(np.diff(played.vector[:, 0]), moved, atol=1e-6)
    np.testing.assert_allclose(played.reward[1:], played.vector[1:, 0], rtol=1e-5)
    assert played.reward[0] == 0

    vectors = imagine(world, played, 10, None, seed=3).vector
    assert vectors.shape == (30, 2)
    state = played.latents[9]
    generator = torch.Generator().manual_seed(3)
    for at in range(9, 14):
        np.testing.assert_allclose(vectors[at], world.decode(state)[1][0].numpy(), rtol=1e-4, atol=1e-6)
        noise = world.draw_noise(1, generator=generator)
        state = world.imagine_step(state, played.action[at : at + 1], noise)


def test_imagination_does_not_look_at_what_comes_after_its_context():
    world, task = world_of(), task_of(Counting)
    short = play(world, Swinging(), task, task.instance.make(), seed=3, steps=15)
    long = play(world, Swinging(), task, task.instance.make(), seed=3, steps=30)
    for head in (None, Swinging()):
        ours, theirs = (imagine(world, played, 10, head, 1).vector for played in (short, long))
        np.testing.assert_allclose(ours, theirs[:15], rtol=1e-5)


@dataclass
class Case:
    make: object
    image: bool = False
    titles: list[str] = field(default_factory=list)


@pytest.mark.parametrize(
    "case",
    [
        Case(Counting, titles=["real", "real solid, imagined dashed"]),
        Case(Drawing, titles=["real", "imagined, same actions", "imagined, own actions"]),
        Case(Silent, titles=["real solid, imagined dashed"]),
        Case(lambda: Counting(image=True), True, ["real", "imagined, same actions", "imagined, own actions"]),
        Case(Silent, True, ["real solid, imagined dashed"]),
    ],
    ids=["renders", "draws observations", "neither", "sees pictures", "another one's world sees pictures"],
)
def test_every_environment_gets_a_clip(case, tmp_path):
    clip = real_and_imagined(world_of(case.image), Swinging(), task_of(case.make), steps=25, context=5)
    assert [panel.title for panel in clip.panels] == case.titles
    assert {len(panel.frames) for panel in clip.panels} == {9}  # every third row, to play in real time
    assert clip.error.shape == (20,)
    assert np.isfinite(clip.error).all()
    assert clip.fps == pytest.approx(50 / 3)
    clip.write(tmp_path / "clip.mp4")
    assert size_of(tmp_path / "clip.mp4")[1] == 9


def test_clips_repeat_exactly_under_a_seed():
    clips = [real_and_imagined(world_of(), Swinging(), task_of(Counting), seed=5, steps=20) for _ in range(2)]
    for one, other in zip(*(side_by_side(clip.panels) for clip in clips), strict=True):
        assert (one == other).all()


def test_a_place_that_stands_still_does_not_count_as_far_away():
    class Still(Counting):
        def step(self, action):
            return super().step(0 * action)

    clips = [real_and_imagined(world_of(), Swinging(), task_of(make), steps=20) for make in (Counting, Still)]
    assert clips[1].error.max() < 10 + clips[0].error.max()


def test_of_a_short_episode_half_is_imagined():
    clip = real_and_imagined(world_of(), Swinging(), task_of(lambda: Counting(ends=4)))
    assert clip.context == 2
    assert clip.error.shape == (3,)
