"""The limits that docs/rewards.md states, checked on plain data without a line of the code that they are about."""

import json
import random
from collections.abc import Iterator
from typing import Any

OPERATIONS = {"abs", "neg", "wrap_angle", "norm", "min", "max", "mean", "diff", "dist", "rate", "window"}
JOINTS = {"all", "any", "not", "held_for"}


def broken_caps(spec: dict[str, Any], success: Any = None) -> list[str]:
    """Which limits a specification breaks, with the task's own `success` in place of its own where there is one."""
    if success is not None:
        spec = {**spec, "success": success}
    parts = [*_parts(spec)]
    read = {json.dumps(part["x"], sort_keys=True) for part in parts if "x" in part}
    paid = [spec["reward"]] if "reward" in spec else [stage["reward"] for stage in spec["stages"]]
    checks = {
        "nested operations": max(map(_depth, (part["x"] for part in parts if "x" in part)), default=0) <= 3,
        "nodes of an expression": all(_nodes(part["x"]) <= 24 for part in parts if "x" in part),
        "different expressions": len(read) <= 8,
        "nested predicates": max((_depth(part, JOINTS) for part in parts), default=0) <= 3,
        "nested combinations": max((_combined(total) for total in paid), default=0) <= 3,
        "terms": sum("to" in part for total in paid for part in _parts(total)) <= 12,
        "stages": len(spec.get("stages", [])) <= 6,
        "constraints": len(spec.get("constraints", [])) <= 6,
        "effort": spec.get("effort", {"weight": 0})["weight"] <= 0.2,
        "memory": _memory(spec) <= 512,
        "size": len(json.dumps(spec)) <= 16 * 1024,
    }
    return [name for name, kept in checks.items() if not kept]


def _parts(data: Any) -> Iterator[dict[str, Any]]:
    """Every mapping from here down."""
    if isinstance(data, dict):
        yield data
    for item in data.values() if isinstance(data, dict) else data if isinstance(data, list) else ():
        yield from _parts(item)


def _inside(node: Any) -> list[Any]:
    inner = node.get("of", []) if isinstance(node, dict) else []
    return inner if isinstance(inner, list) else [inner]


def _depth(node: Any, kinds: set[str] = OPERATIONS) -> int:
    if not isinstance(node, dict) or node.get("op") not in kinds:
        return 0
    return 1 + max((_depth(inner, kinds) for inner in _inside(node)), default=0)


def _nodes(node: Any) -> int:
    return 1 + sum(map(_nodes, _inside(node)))


def _combined(total: Any) -> int:
    return 1 + max(map(_combined, total["of"])) if "combine" in total else 0


def _memory(spec: dict[str, Any]) -> int:
    """Numbers that the reward remembers: equal nodes once; `success` is judged over whole episodes."""
    size = {}
    for part in _parts({key: value for key, value in spec.items() if key != "success"}):
        name = json.dumps(part, sort_keys=True)
        if part.get("op") == "rate":
            size[name] = 2
        elif part.get("op") == "window":
            size[name] = 2 + part["steps"]
        elif part.get("op") == "held_for":
            size[name] = 1
        elif part.get("to", {}).get("shape") == "progress":
            size[json.dumps({"op": "rate", "of": part["x"]}, sort_keys=True)] = 2
    stages, timed = spec.get("stages", []), any("timeout" in stage for stage in spec.get("stages", []))
    of_stages = len(stages) + timed if len(stages) > 1 or timed else 0
    return sum(size.values()) + of_stages + any(one.get("grace") for one in spec.get("constraints", []))


class Drawn:
    """Specifications about as large as the limits allow, from a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def expression(self, depth: int) -> dict[str, Any]:
        r = self.random
        if depth <= 0 or r.random() < 0.25:
            return {"signal": r.choice(["height", "speed", "width"])}
        op = r.choice(["abs", "neg", "norm", "min", "max", "mean", "diff", "rate", "window"])
        if op in ("abs", "neg", "rate"):
            return {"op": op, "of": self.expression(depth - 1)}
        if op == "window":
            inner = self.expression(depth - 1)
            return {"op": op, "take": r.choice(["mean", "min", "max"]), "of": inner, "steps": r.choice([2, 50, 200])}
        count = 2 if op == "diff" else r.randint(1, 6)
        return {"op": op, "of": [self.expression(depth - 1) for _ in range(count)]}

    def predicate(self, depth: int) -> dict[str, Any]:
        r = self.random
        if depth <= 0 or r.random() < 0.2:
            return {"op": r.choice(["lt", "gt"]), "x": self.expression(r.choice([0, 1, 2, 3, 4])), "than": 1.0}
        op = r.choice(["all", "any", "not", "held_for"])
        if op == "held_for":
            return {"op": op, "of": self.predicate(depth - 1), "steps": r.randint(1, 200)}
        if op == "not":
            return {"op": op, "of": self.predicate(depth - 1)}
        return {"op": op, "of": [self.predicate(depth - 1) for _ in range(r.randint(1, 3))]}

    def total(self, depth: int) -> dict[str, Any]:
        r = self.random
        if depth <= 0 or r.random() < 0.3:
            if r.random() < 0.3:
                return {"to": {"shape": "indicator", "when": self.predicate(r.randint(0, 4))}}
            shape = r.choice(
                [
                    {"shape": "ramp", "low": 0.0, "high": 1.0},
                    {"shape": "progress", "direction": "increase", "scale": 1.0},
                ]
            )
            return {"x": self.expression(r.randint(0, 4)), "to": shape}
        combine = r.choice(["product", "weighted_mean", "min"])
        return {"combine": combine, "of": [self.total(depth - 1) for _ in range(r.randint(1, 4))]}

    def specification(self) -> dict[str, Any]:
        r = self.random
        spec: dict[str, Any] = {"environment": "test/thing"}
        if r.random() < 0.7:
            spec["reward"] = self.total(r.randint(0, 4))
        else:
            ends = [{"advance_when": self.predicate(r.randint(0, 2))} for _ in range(r.randint(0, 6))]
            spec["stages"] = [{"reward": self.total(r.randint(0, 1)), **end} for end in [*ends, {}]]
        if r.random() < 0.3:
            spec["constraints"] = [
                {"constraint": "gate", "when": self.predicate(r.randint(0, 4)), "grace": r.choice([0, 3])}
                for _ in range(r.randint(1, 7))
            ]
        if r.random() < 0.2:
            spec["effort"] = {"weight": r.choice([0.1, 0.2, 0.21])}
        if r.random() < 0.3:
            spec["success"] = self.success()
        return spec

    def success(self) -> dict[str, Any]:
        return {"when": self.predicate(self.random.randint(0, 4)), "held_for": self.random.randint(1, 5)}
