"""Pictures made of pictures: panels side by side with titles and notes, charts that grow with time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from math import ceil

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.floating]

BACK, CARD, INK, MUTED, LINE = "#14171c", "#1d2128", "#e8eaed", "#9aa3af", "#343a44"
REAL, IMAGINED = "#8ab4f8", "#f5a65b"
HEIGHT, GAP, HEAD = 240, 12, 50


@dataclass(frozen=True)
class Panel:
    """One column of a video: a title, pictures (h, w, 3) of one size, and a note for each of them."""

    title: str
    frames: Sequence[Pixels]
    notes: Sequence[str] = field(default=())
    colour: str = INK


def side_by_side(panels: Sequence[Panel]) -> Iterator[Pixels]:
    """Panels at one height side by side, as wide as picture and words are; the shortest panel ends it."""
    sizes = [_scaled(panel.frames[0]) for panel in panels]
    columns = [max(size[0], _words_width(panel)) for panel, size in zip(panels, sizes, strict=True)]
    width = sum(columns) + GAP * (len(panels) + 1)
    for at in range(min(len(panel.frames) for panel in panels)):
        canvas = Image.new("RGB", (width, HEAD + HEIGHT + GAP), BACK)
        draw = ImageDraw.Draw(canvas)
        left = GAP
        for panel, size, column in zip(panels, sizes, columns, strict=True):
            draw.text((left, 17), panel.title, panel.colour, font(14), anchor="lm")
            canvas.paste(_resized(panel.frames[at], size), (left, HEAD))
            if at < len(panel.notes):
                draw.text((left, 36), panel.notes[at], MUTED, font(12), anchor="lm")
            left += column + GAP
        yield np.asarray(canvas)


def line_charts(
    names: Sequence[str], real: Floats, imagined: Floats, imagined_from: int, most: int = 6
) -> list[Pixels]:
    """A picture for each row of real and imagined (T, V) numbers: real solid, imagined dashed, up to there.

    Where there are many entries, the `most` that move most. The dotted line is where imagination begins.
    """
    spread = real.std(0)
    chosen = sorted(np.argsort(-spread, kind="stable")[:most].tolist())
    columns = 1 if len(chosen) == 1 else 2
    rows = -(-len(chosen) // columns)
    width, height = 420 // columns, HEIGHT // rows
    canvas = Image.new("RGB", (width * columns, height * rows), CARD)
    cells = []
    for number, place in enumerate(chosen):
        box = (number % columns * width, number // columns * height, width, height)
        cells.append(_Cell(canvas, box, names[place], real[:, place], imagined[:, place], imagined_from))
    frames = []
    for at in range(len(real)):
        for cell in cells:
            cell.extend(at)
        frames.append(np.array(canvas))
    return frames


class _Cell:
    """One small chart that is drawn further with each row."""

    def __init__(
        self,
        canvas: Image.Image,
        box: tuple[int, int, int, int],
        name: str,
        real: Floats,
        imagined: Floats,
        imagined_from: int,
    ) -> None:
        self.draw = ImageDraw.Draw(canvas)
        self.real, self.imagined, self.imagined_from = real, imagined, imagined_from
        self.dash = max(1, len(real) // 60)
        left, top, width, height = box
        self.left, self.right = left + 8, left + width - 8
        self.top, self.bottom = top + 20, top + height - 6
        shown = np.concatenate([real, np.clip(imagined, real.min() - np.ptp(real), real.max() + np.ptp(real))])
        self.low, self.span = float(shown.min()), float(np.ptp(shown)) or 1.0
        self.draw.text((self.left, top + 10), name, MUTED, font(11), anchor="lm")
        self.draw.line([(self.left, self.bottom), (self.right, self.bottom)], LINE)
        begin = self._at(imagined_from, self.low)[0]
        for y in range(self.top, self.bottom, 5):
            self.draw.line([(begin, y), (begin, y + 1)], LINE)

    def extend(self, at: int) -> None:
        if at == 0:
            return
        before, after = at - 1, at
        self.draw.line([self._at(before, self.real[before]), self._at(after, self.real[after])], REAL, 2)
        if before >= self.imagined_from and at // self.dash % 2:
            self.draw.line(
                [self._at(before, self.imagined[before]), self._at(after, self.imagined[after])], IMAGINED, 2
            )

    def _at(self, row: int, value: float) -> tuple[float, float]:
        x = self.left + (self.right - self.left) * row / max(len(self.real) - 1, 1)
        share = min(max((float(value) - self.low) / self.span, 0.0), 1.0)
        return x, self.bottom - 2 - (self.bottom - self.top - 4) * share


def as_picture(image: Pixels) -> Pixels:
    """An observed image (h, w, C) as (h, w, 3): its first three channels, or the first as grey."""
    return image[..., :3] if image.shape[-1] >= 3 else np.repeat(image[..., :1], 3, axis=-1)


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font of titles and notes."""
    return ImageFont.load_default(size)


def _words_width(panel: Panel) -> int:
    notes = (font(12).getlength(note) for note in panel.notes)
    return ceil(max(font(14).getlength(panel.title), *notes, 0))


def _scaled(frame: Pixels) -> tuple[int, int]:
    return round(frame.shape[1] * HEIGHT / frame.shape[0]), HEIGHT


def _resized(frame: Pixels, size: tuple[int, int]) -> Image.Image:
    image = Image.fromarray(np.ascontiguousarray(frame))
    if image.size == size:
        return image
    return image.resize(size, Image.Resampling.NEAREST if image.size[1] <= 96 else Image.Resampling.LANCZOS)
