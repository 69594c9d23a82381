"""What the version before this one wrote, read as this version writes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TENSOR_NAMES = {"standard.": "vector_norm.", "actor.deviation.": "actor.std."}
"""parts of tensors' names in format 1, and today's"""


def upgrade_manifest(values: Mapping[str, Any]) -> dict[str, Any]:
    """A checkpoint's manifest of format 1, 2 or 3 as format 3."""
    if values["format"] > 2:
        return dict(values)
    state = dict(values["state"])
    runs = {name: _renamed(run, {"owed": "update_credit"}) for name, run in state.get("runs", {}).items()}
    for run in runs.values():
        if "collector" in run:
            run["collector"] = _renamed(run["collector"], {"slots": "envs"})
    if runs:
        state["runs"] = runs
    first = values["generation"] if values["format"] == 1 else values.get("format_1_until", 0)
    return {**values, "format": 3, "format_1_until": first, "state": state}


def upgrade_world(values: Mapping[str, Any]) -> dict[str, Any]:
    """The content of `world.yaml` of format 1 to 3 as format 3; settings are renamed where they are checked."""
    values = dict(values)
    if values["format"] == 1:
        values["instances"] = [_renamed(instance, {"places": "layout"}) for instance in values["instances"]]
    if values["format"] < 3 and len({tuple(instance["layout"]["vector"]) for instance in values["instances"]}) > 1:
        values["settings"] = _with_all_standardised(values["settings"])
    return {**values, "format": 3}


def _with_all_standardised(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a world whose encoder saw entries that an environment lacks as their negative mean."""
    world = dict(settings["world"])
    if world.get("vectors") == "standardised":
        world["vectors"] = "standardised_all"
    return {**settings, "world": world}


def current_tensor_name(name: str) -> str:
    """Today's name of a tensor that a file of format 1 holds."""
    for old, new in TENSOR_NAMES.items():
        name = name.replace(old, new)
    return name


def _renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(key, key): value for key, value in values.items()}
