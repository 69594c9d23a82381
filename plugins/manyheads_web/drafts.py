"""Goals that are being talked about: read back, held against recorded episodes, corrected, and written at last."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from manyheads import ManyheadsError, RewardSpec, Task, load_task
from manyheads.atomic import write_text
from manyheads.rewards.coverage import coverage
from manyheads.rewards.describe import Words, describe, summarize
from manyheads.rewards.finding import errors
from manyheads.rewards.nodes import Expression
from manyheads.rewards.sources import SpecSettings, SpecSource
from manyheads.rewards.spec import control_names
from manyheads.rewards.validate import check_instance, check_success
from manyheads.storage.world_folder import WorldFolder
from manyheads_web.measures import along
from manyheads_web.numbers import Number, changed, numbers
from manyheads_web.problems import Gone, Refused

NEWEST_ROWS = 20_000
"""recorded rows that a goal is held against: few enough that a moved slider answers at once"""
MOST_POINTS = 600
"""of an episode's curve"""
MOST_DRAFTS = 30
PERSON = "a person"
"""who decided, in the journal"""

Columns = dict[str, NDArray[np.float64]]


@dataclass
class Draft:
    """A goal as the writer read it, with the episodes that it is held against."""

    id: int
    world: str
    record: dict[str, Any]
    """what `manyheads goal --json` said"""
    task: Task
    spec: RewardSpec
    """success included"""
    episodes: list[Columns]
    numbers: list[Number]
    shown: dict[str, int]
    """the worst, middle and best episode, by their place in `episodes`"""
    journal: str
    lock: threading.Lock = field(default_factory=threading.Lock)

    def facts(self) -> dict[str, Any]:
        """All that the page shows of it at first, JSON-able."""
        bounded = list(dict.fromkeys(number.of for number in self.numbers if number.of))
        measures = [self._measure(of) for of in bounded]
        sliders = [
            {**number.record(), "measure": bounded.index(number.of) if number.of else None} for number in self.numbers
        ]
        kept = ("goal", "environment", "decisions", "warnings", "ignored", "experience")
        return {
            "draft": self.id,
            "world": self.world,
            **{name: self.record.get(name) for name in kept},
            "steps": self.task.episode_steps,
            "numbers": sliders,
            "measures": measures,
            **self.judged({}),
        }

    def judged(self, values: Mapping[int, float]) -> dict[str, Any]:
        """What the goal says and what recorded episodes earn, with these numbers; raises Refused."""
        spec = self.with_numbers(values)
        signals, seconds = self.task.instance.signals, self.task.instance.step_seconds
        findings = [*check_instance(spec, self.task.instance)]
        if spec.success is not None:
            findings += check_success(spec.success, signals)
        facts: dict[str, Any] = {
            "description": describe(spec, signals),
            "summary": summarize(spec, signals),
            "findings": [{"severity": one.severity, "text": str(one)} for one in findings],
            "curves": [],
            "coverage": None,
        }
        if not self.episodes or errors(findings):
            return facts
        with self.lock:
            source = SpecSource(spec, control_names(self.episodes[0]), seconds)
            facts["curves"] = [
                {"name": name, "values": _rounded(np.asarray(source.label(self.episodes[at]).reward))}
                for name, at in self.shown.items()
            ]
            names = self.episodes[0]
            columns = {name: np.concatenate([one[name] for one in self.episodes]) for name in names}
            first = np.concatenate([np.arange(len(next(iter(one.values())))) == 0 for one in self.episodes])
            found = coverage(spec, columns, first, seconds)
        facts["coverage"] = {
            "rows": found.rows,
            "some": found.some,
            "much": found.much,
            "best_stretch": found.best_stretch,
            "successes": found.successes,
            "episodes": found.episodes,
        }
        return facts

    def with_numbers(self, values: Mapping[int, float]) -> RewardSpec:
        """The specification with these numbers."""
        return changed(self.spec, self.numbers, values) if values else self.spec

    def write(self, folder: WorldFolder, values: Mapping[int, float]) -> Path:
        """Writes the task, with these numbers, and its journal into the world's `goals/`; returns the task file.

        A file or head of that name that holds another task stays: the new one then gets a number. Raises Refused.
        """
        spec = self.with_numbers(values)
        if wrong := errors(check_instance(spec, self.task.instance)):
            raise Refused("; ".join(map(str, wrong)))
        data = {"version": 1, **spec.model_dump(mode="json", exclude_defaults=True, exclude={"success"})}
        reward = self.task.content.reward.model_copy(update={"spec": data})
        content = self.task.content.model_copy(update={"reward": reward, "success": spec.success})
        base = self.task.file.stem if self.task.file else "goal"
        for number in count(1):
            path = folder.path / "goals" / (f"{base}.yaml" if number == 1 else f"{base}_{number}.yaml")
            taken = path.exists() and load_task(path).content != content
            if path.stem in folder.heads:
                taken |= folder.task(path.stem).content != content
            if not taken:
                break
        content.write(path)
        write_text(path.with_suffix(".jsonl"), self.journal + self._corrections(values))
        return path

    def _corrections(self, values: Mapping[int, float]) -> str:
        """The numbers that a person moved, as decisions in the journal."""
        lines = []
        for index, value in values.items():
            number = self.numbers[index]
            if value != number.value:
                lines.append(
                    json.dumps(
                        {
                            "call": "decision",
                            "about": number.label,
                            "question": "number",
                            "answer": f"{value:g} {number.unit}".strip(),
                            "step": PERSON,
                            "margin": 0.0,
                            "why": f"moved from {number.value:g} on the page",
                        },
                        ensure_ascii=False,
                    )
                )
        return "".join(f"{line}\n" for line in lines)

    def _measure(self, of: str) -> dict[str, Any]:
        """An expression's words, and its values along the episodes that are shown."""
        node = next(node for node in _expressions(self.spec) if node.model_dump_json() == of)
        words = Words(self.task.instance.signals)
        seconds = self.task.instance.step_seconds
        curves = {name: _rounded(along(node, self.episodes[at], seconds)) for name, at in self.shown.items()}
        return {
            "label": words.expression(node),
            "unit": words.unit(node).strip(),
            "curves": [{"name": name, "values": values} for name, values in curves.items()],
        }


class Drafts:
    """The drafts of this page, by number; the oldest are forgotten."""

    def __init__(self) -> None:
        self._drafts: dict[int, Draft] = {}
        self._numbers = count(1)
        self.folder = Path(tempfile.mkdtemp(prefix="manyheads-web-"))

    def place(self, sentence: str) -> Path:
        """Where a goal's task file lies until a person agrees; named by the sentence's first words."""
        words = re.findall(r"[a-z0-9]+", sentence.lower())[:8]
        return Path(tempfile.mkdtemp(dir=self.folder)) / f"{'_'.join(words)[:60] or 'goal'}.yaml"

    def add(self, world: str, folder: WorldFolder, file: Path, printed: str) -> Draft:
        """A draft of the task file that `manyheads goal` wrote, and of what it printed."""
        task = load_task(file)
        if not isinstance(task.settings, SpecSettings):
            raise ManyheadsError(f"{file} holds no reward specification.")
        spec = task.settings.spec.model_copy(update={"success": task.success})
        episodes = _episodes(folder, task, spec)
        seconds = task.instance.step_seconds

        def measure(x: Expression) -> NDArray[np.float64]:
            values = [along(x, episode, seconds) for episode in episodes]
            return np.concatenate(values) if values else np.zeros(0)

        journal = file.with_suffix(".jsonl")
        draft = Draft(
            id=next(self._numbers),
            world=world,
            record=json.loads(printed),
            task=task,
            spec=spec,
            episodes=episodes,
            numbers=numbers(spec, task.instance.signals, measure),
            shown=_shown(SpecSource(spec, control_names(episodes[0]), seconds), episodes) if episodes else {},
            journal=journal.read_text(encoding="utf-8") if journal.exists() else "",
        )
        self._drafts[draft.id] = draft
        for old in list(self._drafts)[:-MOST_DRAFTS]:
            del self._drafts[old]
        return draft

    def __getitem__(self, number: int) -> Draft:
        draft = self._drafts.get(number)
        if draft is None:
            raise Gone("This goal is not known any more: the page was restarted. Say it again.")
        return draft

    def newest(self, world: str) -> Draft | None:
        """The newest draft for a world."""
        return next((draft for draft in reversed(self._drafts.values()) if draft.world == world), None)

    def close(self) -> None:
        """Forgets what was not agreed to."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _expressions(spec: RewardSpec) -> list[Expression]:
    from manyheads.rewards.nodes import walk

    return [x for _, node in walk(spec) if (x := getattr(node, "x", None)) is not None]


def _episodes(folder: WorldFolder, task: Task, spec: RewardSpec) -> list[Columns]:
    """The newest recorded episodes with what the specification reads; none where nothing is recorded."""
    replay = folder.replay(read_only=True)
    try:
        found, rows = [], 0
        for episode in reversed(replay.episodes(task.instance.dynamics_key)):
            if rows >= NEWEST_ROWS:
                break
            if len(episode) > 1:
                table = episode.signals
                names = [*spec.signals, *(control_names(table) if spec.effort is not None else ())]
                found.append({name: table[name] for name in names})
                rows += len(episode)
        return found
    finally:
        replay.close()


def _shown(source: SpecSource, episodes: list[Columns]) -> dict[str, int]:
    """The episodes that earn most, as many as half of them, and least; short ones are left out."""
    lengths = [len(next(iter(one.values()))) for one in episodes]
    means = [float(np.asarray(source.label(one).reward).mean()) for one in episodes]
    order = sorted((at for at, rows in enumerate(lengths) if 2 * rows >= max(lengths)), key=means.__getitem__)
    places = {"best": order[-1], "middle": order[len(order) // 2], "worst": order[0]}
    return {name: at for name, at in places.items() if name == "best" or at != places["best"]}


def _rounded(values: NDArray[Any]) -> list[float]:
    """Values for drawing: at most so many, evenly taken."""
    every = max(1, -(-len(values) // MOST_POINTS))
    return [float(f"{value:.4g}") for value in values[::every].tolist()]
