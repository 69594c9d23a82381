"""`manyheads export --onnx`: a head and its world as ONNX graphs, checked against torch before they count."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from manyheads import atomic
from manyheads.errors import ManyheadsError
from manyheads.exchange.onnx_modules import ActStep, ImagineStep
from manyheads.heads.actor_critic import ActorCritic
from manyheads.imports import missing_modules
from manyheads.storage.agent import Agent

STEPS = 100
"""random steps on which both forms are compared"""
ALIKE = 1e-4
"""largest difference of a number, and share of latent variables whose sampled class may differ"""


class GraphCheck(NamedTuple):
    """How one graph compares with torch on `STEPS` random inputs."""

    graph: str
    max_difference: float
    milliseconds: float
    """of one step of the graph, the median"""


def export_onnx(agent: Agent, folder: Path) -> list[GraphCheck]:
    """Writes `policy.onnx`, `world.onnx` and `onnx.json` into a folder; returns how they compare with torch.

    Raises ManyheadsError where a package is missing, the head is of another kind, or a graph does not act as torch
    does; nothing is then written.
    """
    if missing := missing_modules(("onnx", "onnxscript", "onnxruntime")):
        raise ManyheadsError(
            f"Exporting needs {' and '.join(missing)}, not installed here. Install with "
            "`pip install 'manyheads[onnx]'`."
        )
    head, world = agent.head, agent.world
    if not isinstance(head, ActorCritic) or head.needs_signals:
        reason = f"its head is of the kind {agent.task.head}"
        if isinstance(head, ActorCritic):
            reason = "its reward remembers earlier rows, which a graph of one step does not"
        raise ManyheadsError(
            f"{agent.task.name} can't be exported: {reason}. An actor_critic head on a reward of single rows can."
        )
    act, imagine = ActStep(world, head, agent.row_format).eval(), ImagineStep(world, head).eval()
    pictured = world.interface.image is not None and agent.row_format.layout.image is not None
    examples = {"policy": (act, _act_inputs(agent, pictured)), "world": (imagine, _imagine_inputs(agent))}
    outputs = {
        "policy": ["action", "deter_out", "stoch_out", "flat_action_out"],
        "world": [
            "deter_out",
            "stoch_out",
            "vector",
            "reward",
            "continues",
            *(["image"] if world.decoder.image else []),
        ],
    }
    folder.mkdir(parents=True, exist_ok=True)
    checks, graphs = [], {}
    for name, (module, draw) in examples.items():
        graphs[name] = _graph(module, draw(0), outputs[name])
        checks.append(_compare(name, graphs[name], module, draw))
    for name, data in graphs.items():
        atomic.write(folder / f"{name}.onnx", partial(Path.write_bytes, data=data))
    atomic.write_json(folder / "onnx.json", _description(agent))
    return checks


def _graph(module: nn.Module, inputs: dict[str, Tensor | None], outputs: Sequence[str]) -> bytes:
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module, kwargs=inputs, input_names=[n for n, x in inputs.items() if x is not None], output_names=outputs,
            dynamo=True, verbose=False,
        )  # fmt: skip
        assert program is not None
        data: bytes = program.model_proto.SerializeToString()
    return data


def _compare(name: str, graph: bytes, module: nn.Module, draw: Any) -> GraphCheck:
    """Both forms on the same random inputs; raises ManyheadsError where they differ."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    largest, flipped, variables, times = 0.0, 0, 0, []
    for seed in range(STEPS):
        inputs = draw(seed)
        with torch.no_grad():
            expected = [x.numpy() for x in module(**inputs)]
        fed = {each: x.numpy() for each, x in inputs.items() if x is not None}
        began = time.perf_counter()
        found = session.run(None, fed)
        times.append(time.perf_counter() - began)
        [stoch] = [i for i, x in enumerate(expected) if x.ndim == 3]
        same = np.isclose(found[stoch], expected[stoch], atol=ALIKE).all(-1)
        flipped, variables = flipped + int((~same).sum()), variables + same.size
        if same.all():  # a variable on the edge between two classes changes all that follows from it
            pairs = zip(found, expected, strict=True)
            largest = max(largest, *(float(np.abs(a.astype(np.float64) - b).max(initial=0)) for a, b in pairs))
    if largest > ALIKE or flipped > ALIKE * variables:
        raise ManyheadsError(
            f"The ONNX graph of the {name} is not what torch computes: numbers differ by up to {largest:.2g}, and "
            f"{flipped} of {variables} latent variables. Nothing was written; please report the versions of "
            "`manyheads doctor`."
        )
    return GraphCheck(f"{name}.onnx", largest, 1000 * float(np.median(times)))


def _act_inputs(agent: Agent, pictured: bool) -> Any:
    layout, world = agent.row_format.layout, agent.world

    def draw(seed: int) -> dict[str, Tensor | None]:
        generator = torch.Generator().manual_seed(seed)
        state = _state(agent, generator)
        image = None
        if pictured and layout.image is not None:
            image = torch.randint(256, (1, *layout.image), generator=generator, dtype=torch.uint8)
        assert isinstance(agent.head, ActorCritic)
        return {
            "image": image,
            "vector": torch.randn(1, len(layout.vector), generator=generator),
            "is_first": torch.tensor([float(seed % 10 == 0)]),
            **state,
            "flat_action": torch.randn(1, world.interface.action_size, generator=generator),
            "latent_noise": world.draw_noise(1, generator=generator),
            "action_noise": agent.head.actor.draw_noise(1, generator=generator),
        }

    return draw


def _imagine_inputs(agent: Agent) -> Any:
    def draw(seed: int) -> dict[str, Tensor | None]:
        generator = torch.Generator().manual_seed(seed)
        action = torch.randn(1, agent.world.interface.action_size, generator=generator)
        noise = agent.world.draw_noise(1, generator=generator)
        return {**_state(agent, generator), "flat_action": action, "latent_noise": noise}

    return draw


def _state(agent: Agent, generator: torch.Generator) -> dict[str, Tensor]:
    """A state of the form that states have."""
    initial = agent.world.initial(1)
    stoch = torch.rand(initial.stoch.shape, generator=generator)
    if initial.stoch.shape[-1] > 1:
        stoch = nn.functional.one_hot(stoch.argmax(-1), stoch.shape[-1]).float()
    return {"deter": torch.rand(initial.deter.shape, generator=generator) * 2 - 1, "stoch": stoch}


def _description(agent: Agent) -> dict[str, Any]:
    """Names and sizes of what goes in and comes out."""
    layout, initial = agent.row_format.layout, agent.world.initial(1)
    assert isinstance(agent.head, ActorCritic)
    return {
        "task": agent.task.name,
        "environment": agent.task.environment,
        "vector": agent.row_format.observe.names,
        "image": layout.image,
        "action": {"continuous": layout.continuous, "blocks": layout.discrete},
        "deter": [*initial.deter.shape],
        "stoch": [*initial.stoch.shape],
        "flat_action": [1, agent.world.interface.action_size],
        "latent_noise": [*agent.world.draw_noise(1).shape],
        "latent_noise_kind": "normal" if initial.stoch.shape[-1] == 1 else "uniform",
        "action_noise": [*agent.head.actor.draw_noise(1).shape],
        "spaces": agent.row_format.record(),
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on its own workings."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
