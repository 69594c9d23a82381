"""Several learners of one world: Ray Train starts them, gives them a process group, and starts them again where one is
lost.

The one that sees the world's folder is the root: it runs the platform's training loop, and alone reads and writes. The
others follow its updates. See `manyheads.execution.ranks` for what they compute.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch.distributed as dist
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from manyheads import ManyheadsError, Task
from manyheads.storage.world_folder import WORLD, WorldFolder
from manyheads.training import ProcessRanks, StopRequest, Trainer, follow
from manyheads_ray import RaySettings
from manyheads_ray.blueprint import Blueprint
from manyheads_ray.cluster import cores, require_same_versions, this_node, versions
from manyheads_ray.link import Receiver, Sender
from manyheads_ray.run import collecting

if TYPE_CHECKING:
    from manyheads.callbacks import Monitoring
    from manyheads.report.metrics import Metrics
    from manyheads.report.progress import Progress

PATIENCE = 4 * 3600
"""seconds that a learner waits for the others; rows may take long to come"""
GRACE = 10.0
"""seconds for learners to end after an error"""
LOST = ("gloo", "nccl", "connection", "peer", "timed out", "timeout")
"""words of torch's errors where another process of the group has gone"""


def train_by_ranks(
    folder: WorldFolder,
    tasks: Sequence[Task],
    steps: int,
    progress: Progress,
    metrics: Metrics,
    settings: RaySettings,
    monitoring: Monitoring | None = None,
) -> None:
    """Trains in other processes, and shows here how they get on. Ctrl-C and SIGTERM save and stop."""
    if monitoring:
        raise ManyheadsError(
            "With ray.learners > 1 nobody is told of a run's events: leave out what evaluates or stops."
        )
    training, gpus = folder.settings.training, folder.settings.training.device == "cuda"
    if training.batch_size % settings.learners:
        raise ManyheadsError(
            f"ray.learners={settings.learners} share batches of {training.batch_size} sequences "
            "(training.batch_size): set a number that divides it."
        )
    needed, (every, _) = settings.learners * settings.learner_cpus, cores()
    if needed > every:
        raise ManyheadsError(
            f"ray.learners={settings.learners} take {needed:g} cores, and the cluster has {every:g}. Set fewer, or "
            "ray.learner_cpus=0.5."
        )
    receiver = Receiver(progress, metrics)
    loop = {
        "path": str(folder.path.resolve()),
        "world": (folder.path / WORLD).read_bytes(),
        "blueprint": Blueprint.of(folder, tasks),
        "steps": steps,
        "settings": settings,
        "versions": versions(),
        "mailbox": receiver.mailbox,
    }
    trainer = TorchTrainer(
        learn,
        train_loop_config=loop,
        torch_config=TorchConfig(backend="nccl" if gpus else "gloo", timeout_s=PATIENCE),
        scaling_config=ScalingConfig(
            num_workers=settings.learners, use_gpu=gpus, resources_per_worker={"CPU": settings.learner_cpus}
        ),
        run_config=RunConfig(
            name="learners",
            storage_path=str(folder.path.resolve() / "ray"),
            failure_config=FailureConfig(max_failures=-1),
        ),
    )
    failure = _run(trainer, receiver)
    if isinstance(receiver.outcome, BaseException):
        raise receiver.outcome
    if failure is not None and not receiver.asked_to_stop:
        raise failure
    if failure is not None:
        progress.say(
            "Ray ended before all was saved: rows are kept, and weights as last saved; the same command continues."
        )
    if failure is not None or receiver.outcome == "stopped":
        raise KeyboardInterrupt


def _run(trainer: TorchTrainer, receiver: Receiver) -> BaseException | None:
    """Waits for the learners; what Ray Train raised."""
    raised: list[BaseException] = []

    def fit() -> None:
        try:
            trainer.fit()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=fit, daemon=True)
    with StopRequest() as stop:
        thread.start()
        while thread.is_alive():
            thread.join(timeout=0.3)
            receiver.receive()
            if isinstance(receiver.outcome, BaseException):
                thread.join(timeout=GRACE)
                break
            if stop.requested and not receiver.asked_to_stop:
                receiver.stop()
    receiver.receive()
    return raised[0] if raised else None


def learn(config: dict[str, Any]) -> None:
    """What each learner runs."""
    sender = Sender(config["mailbox"])
    root = _root(config)
    ranks = ProcessRanks(max(root, 0))
    blueprint: Blueprint = config["blueprint"]
    with sender.open():
        try:
            if root < 0:
                raise ManyheadsError(
                    f"No learner runs on a node that sees the world's folder {config['path']}: put it on a file system "
                    "that all nodes share."
                )
            _require_versions(config["versions"])
            if ranks.rank == root:
                _lead(config, blueprint, ranks, sender)
            else:
                follow(blueprint.folder(), [*blueprint.open_tasks().values()], ranks)
        except Exception as error:
            if isinstance(error, RuntimeError) and any(word in str(error).lower() for word in LOST):
                raise  # another learner is gone: Ray Train restarts all of them
            sender.send("end", error)  # which would happen again, too


def _lead(config: dict[str, Any], blueprint: Blueprint, ranks: ProcessRanks, sender: Sender) -> None:
    """The training loop, with the replay and the folder."""
    folder, tasks = blueprint.folder(Path(config["path"])), [*blueprint.open_tasks().values()]
    trainer = Trainer(folder, tasks, make_collector=collecting(config["settings"], sender.say), ranks=ranks)
    sender.send("begin", ranks.count, trainer.steps, trainer.updates)
    sender.on_stop = lambda: setattr(trainer.stop, "requested", True)
    try:
        trainer.collect_and_learn(config["steps"], cast("Progress", sender), cast("Metrics", sender))
        sender.send("end", "done")
    except KeyboardInterrupt:
        sender.send("end", "stopped")
    except ManyheadsError as error:
        sender.send("end", error)
    finally:
        trainer.close()
    trainer.step.dismiss()


def _root(config: dict[str, Any]) -> int:
    """The lowest rank that sees the world's folder; -1: none."""
    path = Path(config["path"]) / WORLD
    sees = path.exists() and path.read_bytes() == config["world"]
    all_see: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(all_see, sees)
    return all_see.index(True) if True in all_see else -1


def _require_versions(theirs: dict[str, str]) -> None:
    """All ranks raise alike where one has other versions than the command."""
    all_have: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(all_have, (this_node(), versions()))
    for node, found in all_have:
        require_same_versions(node, found, theirs)
