"""Many runs at once: Ray Tune gives each a place on a node, and starts those that die again."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import tune

from manyheads.training import Job, rows_of, run_job
from manyheads_ray import RaySettings
from manyheads_ray.cluster import connected

if TYPE_CHECKING:
    from manyheads.report.progress import Progress

TRIES = 3
"""beginnings again of a job whose process or node died"""


class Advance(tune.Callback):
    """Tells the progress of rows that jobs' worlds have collected."""

    def __init__(self, progress: Progress, known: dict[str, int]) -> None:
        self.progress, self.known = progress, known

    def __deepcopy__(self, memo: object) -> Advance:
        return self  # Tune copies its callbacks, and a terminal has no copy

    def __getstate__(self) -> dict[str, Any]:
        return {}  # nor can it be saved, as Tune does with its own state, which no run here resumes from

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
        """New rows of one job."""
        name, rows = result["job"], int(result["rows"])
        self.progress.advance(max(0, rows - self.known[name]))
        self.known[name] = max(rows, self.known[name])


def run_all(jobs: Sequence[Job], progress: Progress, settings: RaySettings) -> dict[str, str]:
    """See `manyheads.runners.RunAll`; a job that ended is not run again, for its world has all rows."""
    known = {job.name: rows_of(job.world) for job in jobs}
    begun = [replace(job, world=job.world.resolve()) for job in jobs]
    with connected(settings.address), tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
        tuner = tune.Tuner(
            tune.with_resources(_run, {"cpu": settings.learner_cpus}),
            param_space={"job": tune.grid_search(begun), "here": str(Path.cwd())},
            tune_config=tune.TuneConfig(trial_name_creator=lambda trial: trial.trial_id),
            run_config=tune.RunConfig(
                name="runs",
                storage_path=folder,
                failure_config=tune.FailureConfig(max_failures=TRIES),
                callbacks=[Advance(progress, known)],
                verbose=0,
            ),
        )
        results = tuner.fit()
    failed = {}
    for result in (results[i] for i in range(len(results))):
        job: Job = (result.config or {})["job"]
        if result.error is not None:
            failed[job.name] = str(result.error).strip().splitlines()[-1]
        elif words := (result.metrics or {}).get("failed"):
            failed[job.name] = words
    return failed


def _run(config: dict[str, Any]) -> None:
    """One job, on whatever node."""
    job: Job = config["job"]
    os.chdir(config["here"])

    def tell(rows: int) -> None:
        tune.report({"job": job.name, "rows": rows, "failed": ""})

    failed = run_job(job, tell)
    tune.report({"job": job.name, "rows": rows_of(job.world), "failed": failed})
