"""What the page shows of a world, read from its folder while others may write to it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from manyheads import ManyheadsError
from manyheads.report.metrics import FILE as METRICS
from manyheads.rewards.describe import describe, summarize
from manyheads.rewards.sources import SpecSettings
from manyheads.storage import ledger
from manyheads.storage.evaluations import FILE as EVALUATIONS
from manyheads.storage.evaluations import Evaluation
from manyheads.storage.evaluations import read as read_evaluations
from manyheads.storage.world_folder import WORLD, WorldFolder
from manyheads_web.folder import Shown

FRESH = 20.0
"""seconds since the last number of a world that is being trained"""


def signature(path: Path) -> tuple[Any, ...]:
    """Changes with what a world's folder says, but for its metrics."""
    names = (WORLD, "checkpoint.json", EVALUATIONS, ledger.FILE, "heads", "goals", "videos", "replay")
    return (
        *(_changed(path / name) for name in names),
        *(_changed(video) for video in sorted(path.glob("videos/*.mp4"))),
    )


def is_fresh(path: Path) -> bool:
    """Whether numbers of training are being written just now, by whomever."""
    changed = _changed(path / METRICS)
    return changed is not None and time.time() - changed[0] < FRESH


def card(shown: Shown, name: str) -> dict[str, Any]:
    """A world in a list, JSON-able; what is wrong with it as its `problem`."""
    found: dict[str, Any] = {"name": name, "title": shown.title(name), "problem": "", "fresh": False, "changed": 0.0}
    try:
        folder = shown.open(name)
        evaluations = read_evaluations(folder.path)
    except ManyheadsError as error:
        return {**found, "problem": str(error)}
    state = folder.checkpoint.state
    return {
        **found,
        "fresh": is_fresh(folder.path),
        "changed": max((one[0] for one in signature(folder.path) if one), default=0.0),
        "environments": list(dict.fromkeys(record.environment for record in folder.instances)),
        "steps": state.get("steps", 0),
        "updates": state.get("updates", 0),
        "heads": [
            {"task": head, "success_rate": None if played is None else played.success_rate}
            for head in folder.heads
            for played in [_played(evaluations, head, "head")]
        ],
    }


def world(shown: Shown, name: str) -> dict[str, Any]:
    """One world, JSON-able; raises ManyheadsError where it can't be read."""
    folder = shown.open(name)
    found, evaluations = card(shown, name), read_evaluations(folder.path)
    if found["problem"]:
        raise ManyheadsError(found["problem"])
    return {
        **found,
        "path": str(folder.path),
        "size": folder.settings.world.size,
        "trained": "world" in folder.checkpoint.names,
        "tasks": folder.checkpoint.state.get("runs", {}).get("train", {}).get("tasks", []),
        "heads": [_head(folder, head, evaluations) for head in folder.heads],
    }


def video(folder: WorldFolder, head: str) -> Path:
    """Where `manyheads watch` puts a head's video."""
    return folder.path / "videos" / f"{folder.task(head).slug}.mp4"


def _head(folder: WorldFolder, name: str, evaluations: list[Evaluation]) -> dict[str, Any]:
    found: dict[str, Any] = {"task": name, "goal": "", "summary": "", "description": "", "problem": "", "video": None}
    played = {policy: _played(evaluations, name, policy) for policy in ("head", "random")}
    found |= {policy: None if one is None else _score(one) for policy, one in played.items()}
    state = folder.checkpoint.state
    found["stale"] = folder.is_stale(name)
    scores = ledger.scores_of(ledger.read(folder.path), name)
    found["ledger"] = [
        {"world_updates": one.world_updates, "mean": one.mean, "episodes": len(one.returns)} for one in scores
    ]
    found["alone"] = state["heads"][name]["run"] != "train"
    found["updates"] = state.get("runs", {}).get(state["heads"][name]["run"], {}).get("updates", 0)
    try:
        task = folder.task(name)
        path = video(folder, name)
        changed = _changed(path)
    except ManyheadsError as error:
        return {**found, "problem": str(error)}
    found |= {"goal": task.goal, "kind": task.head, "video": changed[0] if changed else None}
    if isinstance(task.settings, SpecSettings):
        spec = task.settings.spec.model_copy(update={"success": task.success})
        found["summary"] = summarize(spec, task.instance.signals)
        found["description"] = describe(spec, task.instance.signals)
    elif task.content.reward.source == "environment":
        found["summary"] = "the simulator's own reward"
    else:
        found["summary"] = f"reward source {task.content.reward.source}"
    return found


def _score(played: Evaluation) -> dict[str, Any]:
    record = played.record()
    episodes = [{"return": one.return_task, "success": one.success, "length": one.length} for one in played.episodes]
    kept = ("returns", "success_rate", "difference", "environment_steps")
    return {**{name: record[name] for name in kept}, "episodes": episodes}


def _played(evaluations: list[Evaluation], task: str, policy: str) -> Evaluation | None:
    return next((one for one in evaluations if one.task == task and one.policy == policy), None)


def _changed(path: Path) -> tuple[float, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime, found.st_size
