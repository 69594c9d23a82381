"""Building blocks for heads in plugins: the networks, distributions, imagination and returns of the standard head."""

from manyheads.heads.actor import ActionDistribution as ActionDistribution
from manyheads.heads.actor import Actor as Actor
from manyheads.heads.actor import reinforce_loss as reinforce_loss
from manyheads.heads.actor_critic import masked_mean as masked_mean
from manyheads.heads.contract import RewardPredictor as RewardPredictor
from manyheads.heads.imagination import ImaginationNoise as ImaginationNoise
from manyheads.heads.imagination import ImaginedTrajectory as ImaginedTrajectory
from manyheads.heads.imagination import draw_noise as draw_noise
from manyheads.heads.imagination import imagine as imagine
from manyheads.heads.predictors import ContinueHead as ContinueHead
from manyheads.heads.predictors import TwoHotHead as TwoHotHead
from manyheads.heads.returns import ReturnScale as ReturnScale
from manyheads.heads.returns import lambda_return as lambda_return
from manyheads.world.distributions import symexp as symexp
from manyheads.world.distributions import symlog as symlog
from manyheads.world.ensemble import LatentEnsemble as LatentEnsemble
from manyheads.world.grow import LayoutAxis as LayoutAxis
from manyheads.world.grow import action_entries as action_entries
from manyheads.world.grow import choice_entries as choice_entries
from manyheads.world.grow import continuous_entries as continuous_entries
from manyheads.world.model import Latent as Latent
from manyheads.world.networks import MLP as MLP
from manyheads.world.networks import Linear as Linear
