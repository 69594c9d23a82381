"""A head exported as ONNX acts as it does in torch, by onnxruntime and NumPy alone."""

import json
from pathlib import Path

import numpy as np
import pytest
from small_worlds import command, train

import manyheads
from helpers import python
from manyheads.errors import ManyheadsError
from manyheads.exchange import onnx_export

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
PENDULUM = "gymnasium/Pendulum-v1-swingup"
CARTPOLE = "gymnasium/CartPole-v1-balance"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("onnx") / "world", PENDULUM, CARTPOLE, steps=60)


@pytest.fixture(scope="module")
def exported(world: Path) -> Path:
    shown = command("export", world, PENDULUM, "--onnx", world.with_name("swing"), "--json")
    checks = json.loads(shown[shown.index("[") :])
    assert [check["graph"] for check in checks] == ["policy.onnx", "world.onnx"]
    assert all(check["max_difference"] < 1e-4 for check in checks)
    return world.with_name("swing")


def test_the_exported_head_follows_the_real_one_through_an_episode(world: Path, exported: Path) -> None:
    """The same observations and noise, each form with its own state."""
    import torch

    session = onnxruntime.InferenceSession(exported / "policy.onnx", providers=["CPUExecutionProvider"])
    sizes = json.loads((exported / "onnx.json").read_text())
    agent = manyheads.load(world).head(PENDULUM)
    latent, action = agent.world.initial(1), torch.zeros(sizes["flat_action"])
    state = {name: np.zeros(sizes[name], np.float32) for name in ("deter", "stoch", "flat_action")}
    mask = agent.world.vector_masks([agent.row_format.layout])
    random = np.random.default_rng(0)
    for step in range(20):
        seen = {
            "vector": random.normal(size=(1, 3)).astype(np.float32),
            "is_first": np.array([step == 0], np.float32),
            "latent_noise": random.uniform(size=sizes["latent_noise"]).astype(np.float32),
            "action_noise": random.normal(size=sizes["action_noise"]).astype(np.float32),
        }
        native, *after = session.run(["action", "deter_out", "stoch_out", "flat_action_out"], seen | state)
        state = dict(zip(state, after, strict=True))
        vector, is_first, latent_noise, action_noise = (torch.from_numpy(x) for x in seen.values())
        fitted = torch.from_numpy(agent._layout_map.map_vector(vector.numpy()))
        latent = agent.world.step(None, fitted, action, is_first.bool(), latent, latent_noise, mask)
        action = agent.head.actor(latent.feature).sample(action_noise)
        expected = agent.row_format.act(agent._layout_map.unmap_action(action[0].detach().numpy()))
        np.testing.assert_allclose(native[0], expected, atol=1e-4)


def test_a_discrete_head_gives_one_hot_choices(world: Path, tmp_path: Path) -> None:
    command("export", world, CARTPOLE, "--onnx", tmp_path / "balance")
    sizes = json.loads((tmp_path / "balance" / "onnx.json").read_text())
    assert sizes["action"] == {"continuous": [], "blocks": [["action", 2]]}
    session = onnxruntime.InferenceSession(tmp_path / "balance" / "policy.onnx", providers=["CPUExecutionProvider"])
    zeros = {name: np.zeros(sizes[name], np.float32) for name in ("deter", "stoch", "flat_action", "latent_noise")}
    chosen = set()
    for noise in (0.01, 0.99):
        action_noise = np.full(sizes["action_noise"], noise, np.float32)
        seen = {"vector": np.zeros((1, 4), np.float32), "is_first": np.ones(1, np.float32)}
        [action] = session.run(["action"], zeros | seen | {"action_noise": action_noise})
        assert sorted(action[0]) == [0, 1]
        chosen.add(int(action[0].argmax()))
    assert chosen == {0, 1}


def test_a_graph_that_computes_something_else_is_not_written(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(module, inputs, outputs, graph=onnx_export._graph):
        data = graph(module, inputs, outputs)
        import torch

        with torch.no_grad():
            module.head.actor.mean.bias.add_(1)
        return data

    monkeypatch.setattr(onnx_export, "_graph", other)
    with pytest.raises(ManyheadsError, match="is not what torch computes: numbers differ by up to"):
        onnx_export.export_onnx(manyheads.load(world).head(PENDULUM), tmp_path / "out")
    assert not [*(tmp_path / "out").glob("*")]


def test_what_cannot_be_exported_is_said(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    own = shutil.copytree(world, tmp_path / "own")
    command("finetune", own, CARTPOLE, "--head", "explore/held_random", "--updates", 0, "--no-check")
    agent = manyheads.load(own).head(f"{CARTPOLE}.explore/held_random")
    with pytest.raises(ManyheadsError, match="its head is of the kind explore/held_random"):
        onnx_export.export_onnx(agent, tmp_path / "out")
    monkeypatch.setattr(onnx_export, "missing_modules", lambda names: ["onnxscript"])
    with pytest.raises(ManyheadsError, match=r"Exporting needs onnxscript.*manyheads\[onnx\]"):
        onnx_export.export_onnx(agent, tmp_path / "out")


def test_the_page_s_example_runs_in_ten_milliseconds_a_step_without_torch(exported: Path) -> None:
    from docs_pages import PAGES, blocks

    [example] = [text for text in blocks(PAGES["docs/sharing.md"], "python") if "onnxruntime" in text]
    code = (
        example
        + """
import sys, time
act(np.zeros(3, np.float32), True)
times = []
for _ in range(50):
    began = time.perf_counter()
    action = act(np.ones(3, np.float32), False)
    times.append(time.perf_counter() - began)
assert action.shape == (1,) and -2 <= action[0] <= 2, action
assert not {"torch", "manyheads"} & {*sys.modules}
print(sorted(times)[25])
"""
    )
    result = python(code, cwd=exported.parent)
    assert result.returncode == 0, result.stderr
    assert float(result.stdout) < 0.01
