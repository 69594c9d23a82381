"""Faster forms of plain functions, for executions that compile. Each has the signature and the results of the function
that it replaces; plain code never imports this package."""

from manyheads.execution.compiled import Replacements
from manyheads.fused import actor_critic, scan, stacked_actor_critic
from manyheads.heads import actor_critic as plain_actor_critic
from manyheads.heads import stacked_actor_critic as plain_stack
from manyheads.world import rssm

REPLACEMENTS: Replacements = {
    rssm.observe_sequence: scan.observe_sequence,
    plain_actor_critic.imagined_losses: actor_critic.imagined_losses,
    plain_stack.stacked_imagined_losses: stacked_actor_critic.stacked_imagined_losses,
}
"""From each plain function to its faster form."""
