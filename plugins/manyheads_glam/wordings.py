"""How demands on signals are said in words: for practice goals, and for what is offered instead of a goal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from manyheads import yamlfile
from manyheads_glam import words
from manyheads_glam.catalogue import Reading
from manyheads_glam.evidence import Side

Split = Literal["train", "held"]
Pick = Callable[[Sequence[str]], str]
"""chooses one of several words"""
AGENTS = ("it", "the robot", "the whole thing", "yourself")
DIRECTIONS: Mapping[str, tuple[str, str]] = {
    "lateral": ("right", "left"),
    "vertical": ("up", "down"),
    "forward": ("forward", "backward"),
    "turning": ("counterclockwise", "clockwise"),
}
_QUANTITY = "position velocity angle angular cosine upright height distance speed horizontal vertical turning"
_QUANTITIES = frozenset(_QUANTITY.split(" "))


class Wording(BaseModel):
    """How one demand is said; `held` is never practised on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    train: Annotated[tuple[str, ...], Field(min_length=1)]
    held: Annotated[tuple[str, ...], Field(min_length=1)]


@cache
def wordings() -> Mapping[str, Wording]:
    """The packaged wordings, by demand."""
    data = yamlfile.read(Path(__file__).parent / "wordings.yaml").data
    return TypeAdapter(dict[str, Wording]).validate_python(data)


def clause(reading: Reading, side: Side, sign: int, pick: Pick, split: Split = "train") -> str:
    """A demand in words; `sign` is the direction of a motion."""
    said = _wording(_key(reading, side, sign), pick, split)
    axis = axis_of(reading)
    if axis is not None:
        towards = sign or (1 if side == "high" else -1)
        said = said.replace("{dir}", DIRECTIONS[axis][0 if towards * reading.axes[axis] > 0 else 1])
    if sign and side != "moving":
        said = f"{said} {_wording(f'pace {side}', pick, split)}"
    first, other = things(reading, pick)
    return said.replace("{thing}", first).replace("{other}", other).replace("{name}", reading.noun).strip()


def axis_of(reading: Reading) -> str | None:
    """The axis along which a signal's values point."""
    return next((axis for axis in DIRECTIONS if axis in reading.axes), None)


def things(reading: Reading, pick: Pick) -> tuple[str, str]:
    """What a signal is about, in words, and what a distance is measured to."""
    tokens = [token for token in reading.noun.split() if not token.isdigit()]
    at = tokens.index("to") if "to" in tokens[1:-1] else len(tokens)
    parts = [[token for token in part if token not in _QUANTITIES] for part in (tokens[:at], tokens[at + 1 :])]
    return _named(parts[0], pick), _named(parts[1] or ["target"], pick)


def _named(tokens: Sequence[str], pick: Pick) -> str:
    if not tokens:
        return pick(AGENTS)
    last = pick((tokens[-1], tokens[-1], *words.SYNONYMS.get(tokens[-1], "").split()))
    return " ".join(("the", *tokens[:-1], last))


def _key(reading: Reading, side: Side, sign: int) -> str:
    """The demand's name in the table of wordings."""
    role, axis = reading.role, axis_of(reading)
    if side in ("still", "centre") or (role in ("speed", "turning") and not sign):
        return f"{role} {'fast' if side == 'moving' else side}"
    if role in ("speed", "turning", "position", "angle") and axis is not None:
        return f"{role} {axis}"
    if role in ("position", "angle"):
        return f"{role} any {side}"
    return f"{'other' if role == 'force' else role} {side}"


def _wording(key: str, pick: Pick, split: Split) -> str:
    return pick(getattr(wordings()[key], split))
