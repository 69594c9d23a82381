"""Windows of replay: which are drawn for a batch, and how their rows become tensors."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

from manyheads.environment.layout import SpaceLayout
from manyheads.experience.batch import Batch, WindowIndex
from manyheads.experience.latent_table import LatentLayout
from manyheads.experience.stream import RecordedInstance, Stream

Window = tuple[Stream, int]
"""a stream and the number of the window's row 0"""


def shares(
    streams: Sequence[Stream], batch: int, groups: Mapping[str, float] | None, generator: np.random.Generator
) -> list[tuple[list[Stream], int]]:
    """How many of `batch` windows to draw from which streams: by weight of dynamics key, or alike.

    A group gets its share of the batch rounded up or down by chance; one without streams gives its share up.
    """
    if groups is None:
        return [(list(streams), batch)] if streams else []
    members, weights = _weighed(streams, groups)
    if not weights.any():
        return []
    edges = np.cumsum(weights)
    places = (generator.random() + np.arange(batch)) / batch
    counts = np.bincount(np.searchsorted(edges[:-1], places, "right"), minlength=len(members))
    return list(zip(members, counts.tolist(), strict=True))


def most_pictured(streams: Sequence[Stream], batch: int, groups: Mapping[str, float] | None) -> int:
    """The most windows of streams with pictures that `shares` ever draws: equal from batch to batch, so that what is
    computed of them keeps its shape."""
    members, weights = _weighed(streams, groups) if groups is not None else ([list(streams)], np.ones(1))
    pictured = [any(stream.shows_images for stream in own) for own in members]
    return min(batch, int(np.ceil(weights[pictured] * batch - 1e-9).sum()))


def _weighed(
    streams: Sequence[Stream], groups: Mapping[str, float]
) -> tuple[list[list[Stream]], npt.NDArray[np.float64]]:
    """The streams of each group, and its share of a batch; all 0 where none has streams."""
    members = [[s for s in streams if s.instance.dynamics_key == key] for key in groups]
    weights = np.array([weight if own else 0.0 for weight, own in zip(groups.values(), members, strict=True)])
    return members, weights / (weights.sum() or 1.0)


def draw(
    streams: Sequence[Stream], count: int, length: int, online: bool, generator: np.random.Generator
) -> list[Window]:
    """Windows of `length` rows: first those that wait in the online queue, then uniformly from all."""
    chosen: list[Window] = []
    waiting = [s for s in streams if s.num_unserved() >= length] if online else []
    while waiting and len(chosen) < count:
        stream = max(waiting, key=Stream.num_unserved)
        if stream.num_unserved() < length:
            break
        start = max(stream.served, stream.start)
        stream.served = start + length
        chosen.append((stream, start))
    if len(chosen) < count:
        ends = np.cumsum([s.num_windows(length) for s in streams]).tolist()
        for at in generator.integers(ends[-1], size=count - len(chosen)).tolist():
            k = bisect_right(ends, at)
            chosen.append((streams[k], streams[k].stop - length - (ends[k] - 1 - at)))
    return chosen


def gather(
    chosen: Sequence[Window],
    length: int,
    interface: SpaceLayout,
    latent: LatentLayout,
    instances: Sequence[RecordedInstance],
    images: int | None,
) -> tuple[Batch, WindowIndex]:
    """Copies the rows of windows into a batch; each starts from the latent and action of the row before.

    `images`: of how many windows the batch has pictures, and of one more that is blank, at least; None: no images.
    """
    shape = (len(chosen), length)
    vector = np.zeros((*shape, len(interface.vector)), np.float32)
    action = np.zeros((len(chosen), length + 1, interface.action_size), np.float32)
    signals = np.zeros((*shape, max(len(known.signals) for known in instances)), np.float32)
    image: npt.NDArray[np.uint8] | None = None
    if images is not None and interface.image is not None:
        pictured = _pictured(chosen, images)
        image = np.zeros((len(pictured), length, *interface.image), np.uint8)
        for own, b in zip(image, pictured, strict=True):
            stream, start = chosen[b]
            if stream.shows_images:
                stream.read("image", start, start + length, own)
    flags = {name: np.zeros(shape, np.bool_) for name in ("is_first", "is_last", "is_terminal")}
    before = np.zeros(len(chosen), latent.record)
    for b, (stream, start) in enumerate(chosen):
        stop = start + length
        stream.read("vector", start, stop, vector[b])
        stream.read("signals", start, stop, signals[b, :, : len(stream.instance.signals)])
        for name, flag in flags.items():
            stream.read(name, start, stop, flag[b])
        context = max(start - 1, stream.start)
        stream.read("action", context, stop, action[b, context - start + 1 :])
        if context < start:
            before[b] = stream.read_latents(context, start)[0]
    missing = ~latent.usable(before)
    reset = np.zeros(shape, np.bool_)
    reset[:, 0] = missing & ~flags["is_first"][:, 0]
    deter, stoch = latent.decode(before)
    positions = {id(known): i for i, known in enumerate(instances)}
    batch = Batch(
        image=None if image is None else torch.from_numpy(image),
        vector=torch.from_numpy(vector),
        previous_action=torch.from_numpy(np.ascontiguousarray(action[:, :-1])),
        action=torch.from_numpy(np.ascontiguousarray(action[:, 1:])),
        signals=torch.from_numpy(signals),
        is_first=torch.from_numpy(flags["is_first"]),
        is_last=torch.from_numpy(flags["is_last"]),
        is_terminal=torch.from_numpy(flags["is_terminal"]),
        reset_state=torch.from_numpy(reset),
        instance=torch.tensor([positions[id(stream.instance)] for stream, _ in chosen]),
        deter=torch.from_numpy(deter),
        stoch=torch.from_numpy(stoch),
        pictured=None if image is None or len(image) == len(chosen) else torch.tensor(pictured),
    )
    streams = np.array([stream.number for stream, _ in chosen])
    return batch, WindowIndex(streams, np.array([start for _, start in chosen]), length, missing)


def _pictured(chosen: Sequence[Window], least: int) -> list[int]:
    """The windows with pictures, then blank ones up to one more than `least`; all in order where that leaves none."""
    seen = [b for b, (stream, _) in enumerate(chosen) if stream.shows_images]
    blank = [b for b, (stream, _) in enumerate(chosen) if not stream.shows_images]
    count = max(least, len(seen)) + 1
    return [*range(len(chosen))] if count >= len(chosen) else seen + blank[: count - len(seen)]
