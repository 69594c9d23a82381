"""Recorded episodes go to Minari and come back byte for byte; a world learns from a data set with no environment."""

import json
import shutil
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from small_worlds import TINY, command, train

import manyheads
from manyheads.errors import ManyheadsError
from manyheads.exchange.minari_files import open_dataset
from manyheads.exchange.minari_import import source_of
from manyheads.registry import registry
from manyheads.storage.world_folder import WorldFolder

minari = pytest.importorskip("minari")
pytest.importorskip("h5py")
from minari.data_collector.episode_buffer import EpisodeBuffer  # noqa: E402
from minari.dataset.minari_storage import MinariStorage  # noqa: E402

PENDULUM = "gymnasium/Pendulum-v1-swingup"
SHORT = """
version: 1
environment: gymnasium/Pendulum-v1
reward: {source: environment}
episode_steps: 9
goal: Swing for nine steps.
"""
PICTURED = """
version: 1
environment: dmc/pendulum
options: {image_size: 16, action_repeat: 4}
reward: {source: environment}
episode_steps: 9
goal: Swing for nine steps and be seen.
"""
COLUMNS = ("vector", "action", "is_first", "is_last", "is_terminal", "image")
SETTINGS = [f"--set={each}" for each in TINY]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("minari")
    (folder / "short.yaml").write_text(SHORT)
    return train(folder / "world", folder / "short.yaml", steps=60)


@pytest.fixture(scope="module")
def exported(world: Path) -> Path:
    assert "Wrote" in command("export", world, "--minari", world.with_name("data"))
    return world.with_name("data")


def ended(world: Path) -> list:
    """Episodes that have ended, in their order."""
    return [episode for episode in WorldFolder.open(world).replay(read_only=True).episodes() if not episode.is_open]


def require_equal(one: list, other: list) -> None:
    """Every row of ended episodes, to the last bit."""
    found = [episode for episode in other if len(episode) > 1]
    for a, b in zip(one, [e for e in found if len(e) == len(one[0])], strict=False):
        for name in COLUMNS:
            left, right = getattr(a, name), getattr(b, name)
            assert (left is None) == (right is None)
            assert left is None or (left.dtype == right.dtype and left.tobytes() == right.tobytes()), name
        assert a.signals.keys() == b.signals.keys()
        assert all(a.signals[name].tobytes() == b.signals[name].tobytes() for name in a.signals)


def test_rows_come_back_byte_for_byte(world: Path, exported: Path, tmp_path: Path) -> None:
    said = command("import", tmp_path / "other", f"minari:{exported}", *SETTINGS)
    assert "more rows of gymnasium/Pendulum-v1; signals: as recorded." in said
    own, theirs = ended(world), ended(tmp_path / "other")
    assert len(own) >= 4
    assert len(theirs) >= len(own)
    require_equal(own, theirs)


def test_rows_with_pictures_come_back_byte_for_byte(tmp_path: Path) -> None:
    (tmp_path / "seen.yaml").write_text(PICTURED)
    world = train(tmp_path / "world", tmp_path / "seen.yaml", steps=60, settings=("world.depth=2",))
    command("export", world, "--minari", tmp_path / "data")
    command("import", tmp_path / "other", f"minari:{tmp_path / 'data'}", *SETTINGS, "--set=world.depth=2")
    require_equal(ended(world), ended(tmp_path / "other"))


def test_a_data_set_is_what_other_libraries_expect(world: Path, exported: Path) -> None:
    dataset = minari.MinariDataset(exported / "data")
    assert dataset.observation_space == gymnasium.make("Pendulum-v1").observation_space
    assert dataset.action_space == gymnasium.make("Pendulum-v1").action_space
    episode = dataset[0]
    assert len(episode.observations) == len(episode.actions) + 1 == len(episode.rewards) + 1 == 10
    assert episode.truncations[-1]
    assert not episode.terminations.any()
    assert dataset.action_space.contains(episode.actions[0])
    first = min(ended(world), key=lambda each: each.id)
    np.testing.assert_array_equal(episode.rewards, first.signals["reward"][1:])


def dataset_of(folder: Path, steps: int = 30, seed: int | None = 3, shift: float = 0.0) -> Path:
    """A data set that someone else recorded on Pendulum-v1, of two episodes."""
    env = gymnasium.make("Pendulum-v1", max_episode_steps=steps)
    data = folder / "data"
    data.mkdir(parents=True)
    storage = MinariStorage.new(data, env.observation_space, env.action_space, data_format="hdf5")
    buffers = []
    for number in range(2):
        own = None if seed is None else seed + number
        seen, _ = env.reset(seed=own)
        env.action_space.seed(number)
        observations, actions, rewards = [seen + np.float32(shift)], [], []
        for _ in range(steps):
            action = env.action_space.sample()
            seen, reward, *_ = env.step(action)
            observations.append(seen), actions.append(action), rewards.append(float(reward))
        ends = [False] * (steps - 1) + [True]
        buffers.append(
            EpisodeBuffer(
                id=number, seed=own, observations=np.stack(observations), actions=np.stack(actions), rewards=rewards,
                terminations=[False] * steps, truncations=ends, infos={},
            )
        )  # fmt: skip
    storage.update_episodes(buffers)
    storage.update_metadata({"dataset_id": "someone/swings-v0", "minari_version": minari.__version__})
    return folder


def test_a_foreign_data_set_comes_back_byte_for_byte(tmp_path: Path) -> None:
    theirs = dataset_of(tmp_path / "theirs")
    command("import", tmp_path / "world", f"minari:{theirs}", *SETTINGS)
    command("export", tmp_path / "world", "--minari", tmp_path / "again")
    one, other = minari.MinariDataset(theirs / "data"), minari.MinariDataset(tmp_path / "again" / "data")
    assert one.observation_space == other.observation_space
    for a, b in zip(one, other, strict=True):
        for name in ("observations", "rewards", "terminations", "truncations"):
            assert np.asarray(getattr(a, name)).tobytes() == np.asarray(getattr(b, name)).tobytes(), name
        np.testing.assert_allclose(a.actions, b.actions, atol=1e-6)


def test_a_world_learns_from_data_alone_with_no_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = dataset_of(tmp_path / "theirs")
    monkeypatch.setattr(gymnasium, "make", None)
    said = command("import", tmp_path / "world", f"minari:{theirs}", "--settings", "demo", *SETTINGS)
    assert "more rows of minari/data; signals: the observed numbers." in said
    [file] = (tmp_path / "world" / "goals").glob("*.yaml")
    command("train", tmp_path / "world", file, "--updates", 3)
    command("train", tmp_path / "world", "--updates", 5)
    state = WorldFolder.open(tmp_path / "world").checkpoint.state
    assert state["updates"] == 5
    loaded = manyheads.load(tmp_path / "world")
    [name] = loaded.heads
    action = loaded.act(np.zeros(3, np.float32))
    assert action.shape == (1,)
    env = manyheads.imagined(loaded, name, members=0)
    env.reset(seed=0)
    assert "observation[0]" in env.step(action)[-1]["signals"]
    with pytest.raises(ManyheadsError, match="is recorded data, and there is no simulator to step"):
        loaded.folder.task(name).make_environment().reset()


def test_signals_are_measured_again_where_the_environment_is_there(tmp_path: Path) -> None:
    theirs = dataset_of(tmp_path / "theirs")
    arguments = ("--environment", "gymnasium/Pendulum-v1", *SETTINGS)
    said = command("import", tmp_path / "world", f"minari:{theirs}", *arguments)
    assert "signals: measured again." in said
    episode = ended(tmp_path / "world")[0]
    np.testing.assert_allclose(episode.signals["pole_angle_cosine"], episode.vector[:, 0], atol=1e-5)


def test_what_cannot_be_measured_again_is_refused(tmp_path: Path) -> None:
    arguments = ("--environment", "gymnasium/Pendulum-v1", *SETTINGS)
    unseeded = dataset_of(tmp_path / "unseeded", seed=None)
    with pytest.raises(ManyheadsError, match=r"does not say which seed it began with\. Leave out --environment"):
        command("import", tmp_path / "a", f"minari:{unseeded}", *arguments)
    shifted = dataset_of(tmp_path / "shifted", shift=0.01)
    with pytest.raises(ManyheadsError, match="row 0 shows something else than was recorded"):
        command("import", tmp_path / "b", f"minari:{shifted}", *arguments)


def test_spaces_that_do_not_fit_are_refused(world: Path, tmp_path: Path) -> None:
    theirs = open_dataset(f"minari:{dataset_of(tmp_path / 'theirs')}")
    with pytest.raises(ManyheadsError, match=r"does not fit gymnasium/CartPole-v1: its vector entries are 3 \("):
        source_of(theirs, "gymnasium/CartPole-v1", {})
    with pytest.raises(ManyheadsError, match="There is no environment named 'gymnasium/Pendulun-v1'"):
        source_of(theirs, "gymnasium/Pendulun-v1", {})
    seen = registry().environments["gymnasium/Pendulum-v1"]
    assert source_of(theirs, "gymnasium/Pendulum-v1", {}).instance.environment is seen


def test_what_is_no_data_set_is_said(
    world: Path, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for source, said in (
        ("d4rl:x", "expected minari:FOLDER or minari:ID"),
        (f"minari:{tmp_path}", "metadata.json is missing"),
        ("minari:nobody/nothing-v0", "can't be read"),
    ):
        with pytest.raises(ManyheadsError, match=said):
            open_dataset(source)
    damaged = shutil.copytree(exported, tmp_path / "damaged")
    (damaged / "data" / "main_data.hdf5").unlink()
    with pytest.raises(ManyheadsError, match="can't be read"):
        open_dataset(f"minari:{damaged}")
    with pytest.raises(ManyheadsError, match="is there already"):
        command("export", world, "--minari", exported)
    with pytest.raises(ManyheadsError, match="leave out --settings and --set"):
        command("import", world, f"minari:{exported}", "--settings", "demo")
    with pytest.raises(ManyheadsError, match="Say what to write, one at a time"):
        command("export", world)
    printed = command("export", world, "--minari", tmp_path / "more", "--json").splitlines()[-1]
    assert json.loads(printed) == [str(tmp_path / "more")]
