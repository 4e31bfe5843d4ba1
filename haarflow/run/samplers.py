"""The samplers that a recipe may name, one row each: their settings, their kernels, and what one draw is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from haarflow.core.chains import tempering
from haarflow.core.chains.kernel import Cycle, Kernel, Repeat
from haarflow.core.chains.tempering import EachReplica, Replicas
from haarflow.flows.between import Between, told_between
from haarflow.flows.flow import Model
from haarflow.run.kernels import KERNELS, OF_PAIRS, Proposal, in_turn
from haarflow.run.sampler_settings import (
    HMC,
    Averaged,
    Cluster,
    FlowMetropolis,
    FlowReweighting,
    GibbsOfPairs,
    HeatBath,
    Marginal,
    Metropolis,
    Mixture,
    Path,
    Pseudofermions,
    ReplicaExchange,
    Trajectory,
)


def _in_turn(theory: Any, couplings: Mapping[str, Any], settings: Any, proposal: Proposal | None) -> Kernel:
    """The kernels of the settings one after another."""
    return in_turn(KERNELS[word].make(theory, couplings, settings, proposal) for word in kernels_of(settings))


def _tempered(theory: Any, couplings: Mapping[str, float], settings: Any, proposal: Proposal | None) -> Kernel:
    """The kernels of the settings for every replica, then the exchange of neighbours."""
    ladder = couplings | settings.ladder
    moves = EachReplica(Repeat(_in_turn(theory, ladder, settings, proposal), settings.sweeps))
    replicas = Replicas(theory, rungs_of(settings))
    if proposal is None:
        return Cycle((moves, tempering.ReplicaExchange(replicas, values={"couplings": ladder})))
    model, pairs = proposal.model, range(replicas.count - 1)
    if not isinstance(model, Model) or set(proposal.condition or ()) != set(settings.ladder):
        raise ValueError(
            f"replicas are exchanged through one flow that is told the couplings of the ladder, {', '.join(settings.ladder)}: "
            "give flow.condition and train.between, or set through_flow = false"
        )
    told = tuple(told_between(settings.ladder, pair) for pair in pairs)
    values = {"couplings": ladder, "params": (proposal.params,) * len(pairs), "condition": told}
    return Cycle((moves, tempering.ReplicaExchange(replicas, Between(model.flow), values)))


class Row(NamedTuple):
    """A sampler as recipes, runs and reports know it.

    `draws` is the kind of its draws: "chain", a Markov chain; "accepted", independent proposals of a flow that an
    accept step turns into a chain; "weighted", proposals of a flow with weights. `kernels` are its kernels if its
    settings name none, `colour` is an index into `figures.COLOURS`, `draw` says what one draw is. `small` are examples
    for the laws, each a theory of the catalogue (phi4, u1 or su2) with settings. `compose` makes one kernel of them
    all. `papers` are keys of references.bib, what to cite beside those of its kernels.
    """

    settings: type
    draws: Literal["chain", "accepted", "weighted"]
    kernels: tuple[str, ...]
    draw: str
    colour: int | None = None
    small: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    compose: Callable[..., Kernel] = _in_turn
    papers: tuple[str, ...] = ()


SAMPLERS: dict[str, Row] = {
    "flow-metropolis": Row(FlowMetropolis, "accepted", ("flow",), "one proposal of the flow", 0),
    "flow-reweighting": Row(
        FlowReweighting, "weighted", ("flow",), "one proposal of the flow", 1, papers=("Nicoli2019", "Vehtari2015")
    ),
    "hmc": Row(HMC, "chain", ("hmc",), "one HMC trajectory (times thin)", 2),
    "pseudofermions": Row(Pseudofermions, "chain", ("pseudofermions",), "one pseudofermion trajectory (times thin)", 4),
    "heatbath": Row(HeatBath, "chain", ("heatbath",), "one heat-bath sweep (times thin)", 3),
    "cluster": Row(Cluster, "chain", ("cluster",), "one cluster move of all spins (times thin)"),
    "metropolis": Row(Metropolis, "chain", ("metropolis",), "one sweep of local Metropolis (times thin)"),
    "marginal": Row(Marginal, "chain", ("marginal",), "one proposal of the marginal flow (times thin)"),
    "gibbs": Row(GibbsOfPairs, "chain", ("gibbs",), "one draw of phi and one proposal at fixed phi (times thin)"),
    "path": Row(
        Path, "weighted", (), "one path", 5, papers=("Jarzynski1997", "Neal2001", "Caselle2022", "Vehtari2015")
    ),
    "cycle": Row(Mixture, "chain", (), "one round of a cycle's kernels (times thin)"),
    "replicas": Row(
        ReplicaExchange,
        "chain",
        (),
        "steps of every replica and one exchange of neighbours",
        compose=_tempered,
        papers=("SwendsenWang1986", "Hukushima1996"),
    ),
}


def row_of(settings: Any) -> Row:
    """Return the row of a sampler's settings.

    >>> row_of(HMC()).draws
    'chain'
    """
    return SAMPLERS[settings.kind]


def kernels_of(settings: Any) -> tuple[str, ...]:
    """Return the names of a sampler's kernels, in order.

    >>> kernels_of(Mixture()), kernels_of(HMC())
    (('flow', 'hmc'), ('hmc',))
    """
    return row_of(settings).kernels or settings.kernels


def rungs_of(settings: Any) -> int:
    """Return the number of replicas of each chain, 0 for a sampler without a ladder of couplings.

    >>> rungs_of(ReplicaExchange(ladder={"beta": (1.0, 2.0, 3.0)})), rungs_of(HMC())
    (3, 0)
    """
    return max(map(len, settings.ladder.values()), default=0) if isinstance(settings, ReplicaExchange) else 0


def target_acceptance(settings: Any) -> float:
    """Return the acceptance to which a sampler's warm-up tunes HMC, 0 where its step size is fixed.

    >>> target_acceptance(HMC(target_acceptance=0.8)), target_acceptance(HeatBath())
    (0.8, 0.0)
    """
    return settings.target_acceptance if isinstance(settings, Trajectory) else 0.0


def averages(settings: Any) -> bool:
    """Return whether a sampler takes a flow with the average of its density over symmetries.

    >>> averages(FlowReweighting()), averages(FlowReweighting(symmetrised=False))
    (True, False)
    """
    return settings.symmetrised if isinstance(settings, Averaged) else True


def needs_flow(settings: Any) -> bool:
    """Return whether a sampler takes proposals from a flow, or exchanges replicas through one."""
    through = isinstance(settings, ReplicaExchange) and settings.through_flow
    return through or any(word in ("flow", *OF_PAIRS) for word in kernels_of(settings))


def starts_from_flow(settings: Any) -> bool:
    """Return whether the chains start from draws of the flow: at a disordered start the weights p/q are so large that
    proposals are refused for long.
    """
    return any(word in OF_PAIRS for word in kernels_of(settings))


def kernel(theory: Any, couplings: Mapping[str, float], settings: Any, proposal: Proposal | None = None) -> Kernel:
    """Return the Markov kernel of a sampler's settings; raises ValueError if it needs a flow and there is none.

    >>> from haarflow.theories import U1Gauge
    >>> kernel(U1Gauge((4, 4)), {"beta": 1.0}, HMC(steps=5)).steps
    5
    """
    return row_of(settings).compose(theory, couplings, settings, proposal)
