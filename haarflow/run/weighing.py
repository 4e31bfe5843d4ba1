"""The flow's weights of the configurations of Markov chains that run beside it: they show what the flow leaves out.

Of every chain some configurations, evenly spread over its draws, are weighed by each flow of the recipe as they are
drawn, a quarter as many in all as the flow makes draws. A block's file holds them as `target_log_w/FLOW (kept, chain)`,
FLOW the first sampler that draws from the flow.
"""

from __future__ import annotations

import math

import numpy

from haarflow.backends.tree import tree_map
from haarflow.backends.types import Tree
from haarflow.flows.flow import Model
from haarflow.flows.mixtures import Mixture, components
from haarflow.flows.sampling.draws import weigh
from haarflow.run.build import Plan, Setup
from haarflow.run.kernels import Proposal

GROUP = "target_log_w"
MOST, LEAST = 2048, 64  # configurations of one chain sampler that are weighed
SHARE = 0.25  # of the flow's draws, over all chains
SITES = 2**20  # of the configurations weighed in one block


def flows_beside(setup: Setup) -> dict[str, Proposal]:
    """Return the flows that samplers draw from, each once, by the name of the first of these samplers.

    A custom flow without an inverse weighs nothing but its own draws, and is not among them.
    """
    found: dict[str, Proposal] = {}
    for name, plan in setup.plans.items():
        proposal = setup.proposals.get(name)
        if not plan.from_flow or proposal is None or not _invertible(proposal):
            continue
        if not any(one is proposal for one in found.values()):
            found[name] = proposal
    return found


def _invertible(proposal: Proposal) -> bool:
    if not isinstance(proposal.model, Model | Mixture):
        return False  # paths weigh only themselves
    return all(hasattr(part.flow, "inverse") for part in components(proposal.model))


def flow_of(setup: Setup, name: str) -> str | None:
    """Return the name under which the flow of a sampler has weighed, None if it has no flow."""
    return next((flow for flow, one in flows_beside(setup).items() if one is setup.proposals.get(name)), None)


def every(setup: Setup, plan: Plan) -> int:
    """Return that every so-manieth draw of a chain is weighed; 0 where no flow runs beside it."""
    flows = [other for name, other in setup.plans.items() if name in flows_beside(setup)]
    if plan.from_flow or not flows:
        return 0
    chains = sum(not other.from_flow for other in setup.plans.values())
    draws = min(other.draws * other.chains for other in flows)
    wanted = min(MOST, max(LEAST, SHARE * draws / chains), SITES * plan.blocks / math.prod(setup.recipe.lattice))
    return max(1, min(plan.draws, math.ceil(plan.draws * plan.chains / wanted)))


def weighed(setup: Setup, plan: Plan, field: Tree, kept: list[int]) -> dict[str, numpy.ndarray]:
    """Return `target_log_w/FLOW (kept, chain)` for the draws `kept` of a block's fields `(draw, chain, *field_shape)`.

    The draws are filled up to the same number in every block, so that one program is compiled.
    """
    if not kept:
        return {}
    stride = every(setup, plan)
    filled = kept + [kept[-1]] * (-(-plan.block // stride) - len(kept))
    host, backend = setup.backend.to_numpy, setup.backend
    flat = tree_map(lambda part: backend.asarray(_flat(host(part)[filled])), field)
    found = {}
    for name, (model, params, condition) in flows_beside(setup).items():
        own = tree_map(backend.asarray, params)
        log_w = host(weigh(model, own, setup.target.theory, flat, setup.target.couplings, condition))
        found[f"{GROUP}/{name}"] = log_w.reshape(len(filled), plan.chains)[: len(kept)]
    return found


def _flat(part: numpy.ndarray) -> numpy.ndarray:
    return part.reshape(-1, *part.shape[2:])
