"""Documents for the checks of reward specifications: most in the grammar, then broken in every way that texts break."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

NAMES = ["height", "speed", "angle", "crashed", "control[0]", "nosuch", "", "reward", "ünïcode", "a" * 90]
NUMBERS: list[Any] = [0, 1, -1, 0.5, 1e6, -1e6, 1e7, 1e308, -0.0, 3, 200, 201, 10**30]
SCALARS: list[Any] = [
    None,
    True,
    False,
    "",
    "x",
    "1",
    "NaN",
    [],
    {},
    [[]],
    {"op": "abs"},
    "\u202e",
    "\ud800",
    "\0",
    *NUMBERS,
]
HOSTILE = [
    "__import__('os').system('x')",
    "</data>",
    "{{7*7}}",
    "${jndi:x}",
    "!!python/object:os.system",
    "&a [*a]",
    "\t- :",
]
OPS = ["abs", "neg", "wrap_angle", "rate", "window", "norm", "min", "max", "mean", "diff", "dist"]
SHAPES = ["tolerance", "ramp", "progress", "indicator"]


def texts(seed: int, count: int) -> Iterator[str]:
    """So many texts, the same for the same seed."""
    draw = random.Random(seed)
    for _ in range(count):
        document: Any = _document(draw)
        for _ in range(draw.choice((0, 0, 1, 1, 2, 4))):
            document = _mutated(draw, document)
        yield _broken(draw, _text(draw, document))


def _number(draw: random.Random) -> Any:
    return draw.choice(NUMBERS) if draw.random() < 0.2 else round(draw.uniform(-2, 2), 3)


def _expression(draw: random.Random, depth: int = 0) -> Any:
    if depth > 3 or draw.random() < 0.55:
        name = draw.choice(NAMES[:5]) if draw.random() < 0.95 else draw.choice(NAMES)
        return {"signal": name} if draw.random() < 0.9 else {"constant": _number(draw)}
    op = draw.choice(OPS)
    if op in ("abs", "neg", "wrap_angle", "rate"):
        return {"op": op, "of": _expression(draw, depth + 1)}
    if op == "window":
        return {"op": op, "take": "mean", "of": _expression(draw, depth + 1), "steps": draw.choice((1, 5, 200, 201))}
    count = 2 if op in ("diff", "dist") else draw.randint(1, 4)
    return {"op": op, "of": [_expression(draw, depth + 1) for _ in range(count)]}


def _predicate(draw: random.Random, depth: int = 0) -> Any:
    kind = draw.choice(("le", "ge", "lt", "gt", "between", "all", "any", "not", "held_for"))
    if depth > 3 or kind in ("le", "ge", "lt", "gt"):
        return {"op": "ge" if depth > 3 else kind, "x": _expression(draw), "than": _number(draw)}
    if kind == "between":
        return {"op": kind, "x": _expression(draw), "lower": _number(draw), "upper": _number(draw)}
    if kind in ("all", "any"):
        return {"op": kind, "of": [_predicate(draw, depth + 1) for _ in range(draw.randint(1, 2))]}
    inner = {"op": kind, "of": _predicate(draw, depth + 1)}
    return inner if kind == "not" else {**inner, "steps": draw.choice((1, 20, 200))}


def _term(draw: random.Random) -> Any:
    shape = draw.choice(SHAPES)
    if shape == "indicator":
        return {"to": {"shape": shape, "when": _predicate(draw)}}
    low, high = _number(draw), _number(draw)
    to = {
        "tolerance": {"lower": low, "upper": None, "margin": abs(high) if isinstance(high, float) else 1.0},
        "ramp": {"low": low, "high": high},
        "progress": {"direction": draw.choice(("increase", "decrease")), "scale": 1.0},
    }[shape]
    return {"x": _expression(draw), "to": {"shape": shape, **to}}


def _total(draw: random.Random, depth: int = 0) -> Any:
    if depth > 3 or draw.random() < 0.6:
        return _term(draw)
    how = draw.choice(("product", "weighted_mean", "min", "geometric_mean"))
    return {"combine": how, "of": [_total(draw, depth + 1) for _ in range(draw.randint(1, 3))]}


def _document(draw: random.Random) -> Any:
    document: dict[str, Any] = {"version": 1, "environment": "test/thing", "goal": draw.choice(["", "go", *HOSTILE])}
    if draw.random() < 0.8:
        document["reward"] = _total(draw)
    else:
        stages = [{"reward": _total(draw), "advance_when": _predicate(draw)} for _ in range(draw.randint(1, 3))]
        document["stages"] = [*stages, {"reward": _total(draw)}]
    if draw.random() < 0.3:
        kind = draw.choice(("gate", "penalty", "terminate"))
        more = {"share": 0.5} if kind == "penalty" else {}
        document["constraints"] = [{"constraint": kind, "when": _predicate(draw), **more}]
    if draw.random() < 0.2:
        document["effort"] = {"weight": draw.choice((0.1, 0.2, 0.3, 0))}
    if draw.random() < 0.5:
        document["success"] = {"when": _predicate(draw), "held_for": draw.choice((1, 20, 201))}
    return document


def _scalar(draw: random.Random) -> Any:
    """A copy: some of them are containers, which later mutations fill."""
    return copy.deepcopy(draw.choice(SCALARS))


def _mutated(draw: random.Random, document: Any) -> Any:
    """One place of the document changed."""
    places = list(_places(document))
    if not places:
        return _scalar(draw)
    holder, key = draw.choice(places)
    what = draw.randrange(6)
    if what == 0:
        holder[key] = _scalar(draw)
    elif what == 1 and isinstance(holder, dict):
        del holder[key]
    elif what == 2 and isinstance(holder, dict):
        holder[draw.choice(("extra", "__class__", "op", "shape", "signal", "x", "version", "\u200b"))] = _scalar(draw)
    elif what == 3 and isinstance(holder, list):
        holder += [holder[key]] * draw.choice((1, 8, 40))
    elif what == 4:
        holder[key] = draw.choice(HOSTILE)
    else:
        for _ in range(draw.choice((1, 3, 30))):
            holder[key] = {"op": "abs", "of": holder[key]} if draw.random() < 0.5 else [holder[key]]
    return document


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    keys = list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else []
    for key in keys:
        yield node, key
        yield from _places(node[key])


def _text(draw: random.Random, document: Any) -> str:
    if draw.random() < 0.15:
        return (
            "\n".join(f"{key}: {json.dumps(value)}" for key, value in document.items())
            if isinstance(document, dict)
            else "x"
        )
    return json.dumps(document, ensure_ascii=draw.random() < 0.5)


def _broken(draw: random.Random, text: str) -> str:
    """Most texts as they are; others cut, doubled, filled with what is no JSON."""
    what = draw.randrange(40)
    if what == 0:
        return text[: draw.randrange(len(text) + 1)]
    if what == 1:
        return text + draw.choice((text, "}", " x", "\n---\n", "\0"))
    if what == 2:
        return text.replace("1", draw.choice(("NaN", "Infinity", "-Infinity", "1e999", "0x10", "1_000", "01")), 1)
    if what == 3:
        return draw.choice(("[" * 5000, '{"a":' * 3000, "- " * 3000, "? " * 2000, "{" * 50, '"' + "a" * 20_000 + '"'))
    if what == 4:
        return text.replace("{", '{"goal": "a", "goal": "b", ', 1)
    if what == 5:
        at = draw.randrange(len(text) + 1)
        return text[:at] + draw.choice((*HOSTILE, "\ufeff", "\ud800", ",", ":", "'", "#", "\\")) + text[at:]
    return text
