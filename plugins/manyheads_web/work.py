"""What the page starts: the commands that a person would type, by what was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from manyheads.storage.world_folder import WorldFolder
from manyheads_web.drafts import Drafts
from manyheads_web.folder import Shown
from manyheads_web.jobs import Command, Job, Jobs
from manyheads_web.problems import Refused
from manyheads_web.requests import Goal, Run, Train

EPISODES = 10
UNCHECKED = "--no-check"
"""a head is played right after its training anyway"""


class Work:
    """Starts commands for requests. Names and paths come behind `--`, so that none is taken for an option."""

    def __init__(self, shown: Shown, jobs: Jobs, drafts: Drafts) -> None:
        self.shown, self.jobs, self.drafts = shown, jobs, drafts

    def read_goal(self, asked: Goal) -> Job:
        """Has a sentence read back; the finished job names the draft."""
        folder, sentence = self.shown.open(asked.world), asked.sentence
        names = list(dict.fromkeys(record.environment for record in folder.instances))
        if asked.environment is not None and asked.environment not in names:
            raise Refused(f"This world does not know {asked.environment}; it knows {', '.join(names)}.")
        file = self.drafts.place(sentence)
        where = [] if asked.environment is None else [f"--environment={asked.environment}"]
        options = [f"--world={asked.world}", *where, "--json", "--yes", f"--out={file}"]
        command = Command("read it", ["goal", *options, "--", sentence])

        def finish(job: Job) -> None:
            job.about["draft"] = self.drafts.add(asked.world, folder, file, job.result).id

        about = {"sentence": sentence, "draft": None}
        return self.jobs.start(asked.world, "goal", f"Reading “{sentence}”", [command], about=about, finish=finish)

    def train(self, asked: Train) -> Job:
        """Writes a draft's task, trains its head, plays it and films it."""
        draft = self.drafts[asked.draft]
        folder = self.shown.open(draft.world)
        self.jobs.require_free(draft.world)
        file = draft.write(folder, asked.values)
        path = file.relative_to(self.shown.root).as_posix()
        if asked.way == "jointly":
            steps = _steps(folder) + asked.steps
            learn = Command("learn", ["train", "--add", "--yes", f"--steps={steps}", "--", draft.world, path])
        else:
            steps = asked.steps if asked.way == "online" else 0
            amounts = [f"--updates={asked.updates}", f"--steps={steps}", UNCHECKED]
            learn = Command("learn", ["finetune", *amounts, "--", draft.world, path])
        about = {"head": file.stem, "draft": draft.id}
        commands = [learn, *_shown(draft.world, file.stem)]
        return self.jobs.start(draft.world, "train", f"Training {file.stem}", commands, writes=True, about=about)

    def run(self, asked: Run) -> Job:
        """Runs one command on a world that is there."""
        folder = self.shown.open(asked.world)
        if asked.head is None and asked.command in ("watch", "finetune"):
            raise Refused(f"Say which head to {asked.command}.")
        if asked.head is not None and asked.head not in folder.heads:
            raise Refused(f"{asked.world} has no head {asked.head!r}; it has {', '.join(folder.heads) or 'none'}.")
        title, commands, writes = self._commands(asked, folder)
        about: dict[str, Any] = {"head": asked.head}
        kind = "train" if writes else asked.command
        return self.jobs.start(asked.world, kind, title, commands, writes=writes, about=about)

    def _commands(self, asked: Run, folder: WorldFolder) -> tuple[str, list[Command], bool]:
        """A title, the commands, and whether they write to the world."""
        world, head = asked.world, asked.head
        if head is None and asked.command == "evaluate":
            return "Playing all heads", [_evaluate(world)], False
        if asked.command == "report":
            return "Writing the report", [Command("write", ["report", "--", world])], False
        if head is None:
            command = Command("train", ["train", "--yes", f"--steps={_steps(folder) + asked.steps}", "--", world])
            return f"Training {self.shown.title(world)} on", [command], True
        if asked.command == "evaluate":
            return f"Playing {head}", [_evaluate(world, head)], False
        if asked.command == "watch":
            return f"Filming {head}", [_watch(world, head)], False
        alone = folder.checkpoint.state["heads"][head]["run"]
        done = int(_run(folder, alone).get("updates", 0)) if alone != "train" else 0
        amounts = [f"--updates={done + asked.updates}", f"--steps={asked.steps}", UNCHECKED]
        command = Command("learn", ["finetune", *amounts, "--", world, head])
        return f"Training {head} on", [command, *_shown(world, head)], True


def _run(folder: WorldFolder, name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = folder.checkpoint.state.get("runs", {}).get(name, {})
    return found


def _steps(folder: WorldFolder) -> int:
    """Rows that the world has collected, which `train --steps` counts from the beginning."""
    return int(folder.checkpoint.state.get("steps", 0))


def _shown(world: str, head: str) -> list[Command]:
    """What follows a training: its score and its film."""
    return [_evaluate(world, head), _watch(world, head)]


def _evaluate(world: str, *heads: str) -> Command:
    return Command("play", ["evaluate", f"--episodes={EPISODES}", "--", world, *heads])


def _watch(world: str, head: str) -> Command:
    return Command("film", ["watch", "--", world, head])
