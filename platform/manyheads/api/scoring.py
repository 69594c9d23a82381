"""How heads do in the real simulator, compared with random actions on the same seeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from manyheads.errors import ManyheadsError
from manyheads.learning.evaluate import bootstrap, bootstrap_difference, play, success_rate
from manyheads.learning.forgetting import Drop, drop
from manyheads.report.progress import Progress
from manyheads.storage import ledger
from manyheads.storage.agent import Agent, LoadedWorld
from manyheads.storage.evaluations import Evaluation, Interval, read, save
from manyheads.storage.ledger import Score
from manyheads.storage.world_folder import WorldFolder

CHECKED_STEPS = 5000
"""simulator steps that a quick check of a head may take"""


def evaluate_heads(loaded: LoadedWorld, names: Sequence[str], episodes: int, progress: Progress) -> list[Evaluation]:
    """Plays heads (all, or those named) and random actions on reserved seeds; two evaluations for each head."""
    read(loaded.folder.path)  # a damaged record is refused before anything is played
    results: list[Evaluation] = []
    for agent in [loaded.head(name) for name in names or loaded.heads]:
        results += _evaluate(loaded, agent, episodes, progress)
    return results


def keep(path: Path, results: Sequence[Evaluation]) -> list[str]:
    """Writes results into the world's record; returns the tasks whose record stays, for it has more episodes."""
    try:
        return save(path, results)
    except ManyheadsError as error:
        raise ManyheadsError(f"These results were not kept. {error}") from error


def with_drops(folder: WorldFolder, results: Sequence[Evaluation]) -> tuple[list[Score], list[Drop]]:
    """The ledger with heads' returns, not written yet, and heads that lost since an earlier state of the world."""
    returns = {each.task: [one.return_task for one in each.episodes] for each in results if each.policy == "head"}
    scores = ledger.with_scores(folder, returns)
    found = [drop(ledger.scores_of(scores, task)) for task in returns]
    return scores, [each for each in found if each is not None]


def quick_episodes(loaded: LoadedWorld, name: str) -> tuple[list[float], list[float]] | None:
    """Returns of a head and of random actions in a few real episodes; None where its episodes are too long for that."""
    agent = loaded.head(name)
    episodes = min(5, CHECKED_STEPS // agent.task.episode_steps)
    if not episodes:
        return None
    played = play(agent.task, episodes, agent.world, agent.head), play(agent.task, episodes)
    own, random = ([each.return_task for each in one] for one in played)
    return own, random


def quick_check(
    world: Path, name: str, own: Sequence[float], random: Sequence[float], predicted: Interval | None = None
) -> str:
    """A sentence about a head in a few real episodes, compared with what was predicted of it."""
    episodes = len(own)
    ours, theirs = sum(own) / episodes, sum(random) / episodes
    said = f"{name} in {episodes} real episode{'s' if episodes > 1 else ''}: {ours:.4g}, random actions {theirs:.4g}"
    if predicted is not None and predicted.low is not None and predicted.high is not None:
        said += f"; predicted {predicted.mean:.4g} [{predicted.low:.4g}, {predicted.high:.4g}]"
        if not predicted.low <= ours <= predicted.high:
            said += f" (`manyheads why {world} {name}` says what lies between)"
    if ours > theirs:
        return f"{said}."
    return (
        f"{said}. It acts no better than random: the world may have seen too little of what the task pays for "
        f"(`manyheads train {world} --add {name}` collects more; `manyheads reward check TASK --world WORLD` looks at "
        "what there is)."
    )


def _evaluate(loaded: LoadedWorld, agent: Agent, episodes: int, progress: Progress) -> list[Evaluation]:
    baseline = play(agent.task, episodes)
    progress.advance(episodes)
    played = play(agent.task, episodes, agent.world, agent.head)
    progress.advance(episodes)
    random, own = ([result.return_task for result in each] for each in (baseline, played))
    name, folder = agent.task.name, loaded.folder
    steps = int(folder.checkpoint.state.get("steps", 0))
    saved = folder.checkpoint.generation_of(f"heads/{agent.task.slug}/weights")
    return [
        Evaluation(name, "random", steps, baseline, bootstrap(random), success_rate(baseline), saved=saved),
        Evaluation(
            name,
            "head",
            steps,
            played,
            bootstrap(own),
            success_rate(played),
            bootstrap_difference(own, random),
            saved=saved,
        ),
    ]
