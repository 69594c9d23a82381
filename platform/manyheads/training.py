"""Building blocks for plugins that train: the loop, collecting elsewhere, policies that travel, heads on trial."""

from manyheads.execution.precision import compute_dtype
from manyheads.execution.ranks import ProcessRanks, Ranks
from manyheads.experience.collector import Collector, CollectResult, EnvironmentFailed, FinishedEpisode
from manyheads.experience.contract import ReplaySink
from manyheads.experience.records import Rows
from manyheads.experience.stream import RecordedInstance
from manyheads.experience.subproc_vector_env import choose_vector_env
from manyheads.experience.vector_env import EnvSlot
from manyheads.heads.policy import PolicySnapshot, VectorPolicy
from manyheads.jobs import Job, rows_of, rows_saved, run_job
from manyheads.learning.follower import follow
from manyheads.learning.lock_step import CollectorContext, LockStep, RowCollector
from manyheads.learning.run_checkpoint import RunSave
from manyheads.learning.stop import StopRequest
from manyheads.learning.trainer import Trainer
from manyheads.learning.trial_heads import TrialHeads
from manyheads.report.metrics import Series, read
from manyheads.report.progress import Progress
from manyheads.run_states import CollectorState, EnvState
from manyheads.storage.agent import build_head
from manyheads.storage.readouts import add_readouts
from manyheads.world.model import World

__all__ = [
    "CollectResult",
    "Collector",
    "CollectorContext",
    "CollectorState",
    "EnvSlot",
    "EnvState",
    "EnvironmentFailed",
    "FinishedEpisode",
    "Job",
    "LockStep",
    "PolicySnapshot",
    "ProcessRanks",
    "Progress",
    "Ranks",
    "RecordedInstance",
    "ReplaySink",
    "RowCollector",
    "Rows",
    "RunSave",
    "Series",
    "StopRequest",
    "Trainer",
    "TrialHeads",
    "VectorPolicy",
    "World",
    "add_readouts",
    "build_head",
    "choose_vector_env",
    "compute_dtype",
    "follow",
    "read",
    "rows_of",
    "rows_saved",
    "run_job",
]
