"""The model card of a pack: what its heads do, how well, from what they were made, and how they are used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from manyheads.rewards.describe import describe
from manyheads.rewards.sources import SpecSource
from manyheads.storage.packs import PackedHead, PackManifest
from manyheads.task import Task


def model_card(manifest: PackManifest, tasks: Mapping[str, Task], file: str) -> str:
    """Markdown with the front matter that the Hugging Face hub reads."""
    return "\n".join(_lines(manifest, tasks, file)) + "\n"


def _lines(manifest: PackManifest, tasks: Mapping[str, Task], file: str) -> Iterator[str]:
    world = manifest.world
    yield from ("---", "library_name: manyheads", "tags: [reinforcement-learning, world-model, manyheads]")
    if manifest.licence:
        yield f"license: {manifest.licence.lower()}"
    yield from ("---", "", f"# {file.removesuffix('.pack')}", "")
    yield f"{_counted(len(manifest.heads), 'head')} on a world model of {', '.join(world.environments)}."
    if manifest.heads:
        yield from ("", "```python", "import manyheads", "", f'agent = manyheads.load("{file}")' + _chosen(manifest))
        yield from ("action = agent.act(observation, info)  # as the environment's reset and step give them", "```")
    for head in manifest.heads:
        yield from ("", f"## {head.name}", "", head.goal, "", f"Environment: {head.environment}. Head: {head.kind}.")
        task = tasks[head.name]
        if isinstance(task.reward, SpecSource):
            yield from ("", "```text", describe(task.reward.spec, task.instance.signals), "```")
        else:
            yield from ("", f"Reward: `{task.content.reward.source}`.")
        yield from ("", *_evidence(head))
    yield from ("", "## World", "", "| | |", "|---|---|")
    yield f"| size | {world.size}, {world.parameters:,} parameters |"
    yield f"| trained on | {world.steps:,} rows, {world.updates:,} updates |"
    yield f"| hash | `{world.hash}` |"
    yield f"| in this file | {'yes' if world.included else 'no'}; replay: {'yes' if world.replay else 'no'} |"
    yield f"| licence | {manifest.licence or 'not stated'} |"
    yield f"| made with | {', '.join(f'{name} {number}' for name, number in manifest.versions.items())} |"
    yield ""
    yield "A head knows what its world has seen. Elsewhere, as in another version of a simulator, play it before use."


def _chosen(manifest: PackManifest) -> str:
    return "" if len(manifest.heads) == 1 else f'.head("{manifest.heads[0].name}")'


def _evidence(head: PackedHead) -> Iterator[str]:
    if not head.evaluations:
        yield "It was not played before it was packed."
        return
    yield from ("| policy | mean return [95% interval] | success | episodes, seeds |", "|---|---|---|---|")
    for each in head.evaluations:
        success = "" if each.success_rate is None else f"{each.success_rate:.0%}"
        seeds = [episode.seed for episode in each.episodes]
        low, high = each.returns.low, each.returns.high
        interval = f"{each.returns.mean:.1f}" + ("" if low is None or high is None else f" [{low:.1f}, {high:.1f}]")
        yield f"| {each.policy} | {interval} | {success} | {len(seeds)}, {min(seeds)} to {max(seeds)} |"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
