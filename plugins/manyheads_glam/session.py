"""All that a goal is written with: the instance, the model, and what a world has recorded of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from manyheads import LanguageModel, RewardSpec
from manyheads.storage.packaged_worlds import world_folder
from manyheads_glam.experience import Seen, look, ranges
from manyheads_glam.meaning import evidence
from manyheads_glam.models.settings import ModelSettings
from manyheads_glam.surroundings import Surroundings, surroundings
from manyheads_glam.task_files import episode_steps, instance_for
from manyheads_glam.writer import Written, write


class Session:
    """Writes goals for one instance, with one model, on what a world (if any) has recorded; closes its replay."""

    def __init__(
        self,
        world: Path | None,
        environment: str | None,
        options: Mapping[str, Any],
        limits: ModelSettings,
        model: LanguageModel,
    ) -> None:
        self.folder = world_folder(world) if world else None
        self.instance = instance_for(self.folder, environment, options)
        self.limits, self.model = limits, model
        self.replay = self.folder.replay(read_only=True) if self.folder else None
        self.measured = ranges(self.replay, self.instance.dynamics_key) if self.replay else {}
        self.evidence = evidence(self.replay, self.instance) if self.replay else None
        self.steps = episode_steps(self.instance, self.folder)
        drafts = getattr(model, "drafts", True)
        self.around = surroundings(self.instance, self.steps) if drafts else Surroundings(self.steps)

    def write(self, goal: str, imagined: str = "") -> Written:
        """The checked specification of a goal; `imagined` tells a model that drafts what earlier ones would do."""
        limits = self.limits
        return write(
            goal,
            self.instance,
            self.model,
            self.measured,
            self.around,
            limits.tries,
            limits.max_tokens,
            self.evidence,
            imagined,
        )

    def look(self, spec: RewardSpec) -> Seen | None:
        """What the world's newest episodes earn under a specification; None without any."""
        if self.replay is None:
            return None
        return look(self.replay, self.instance.dynamics_key, spec, self.instance.step_seconds)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.replay is not None:
            self.replay.close()
