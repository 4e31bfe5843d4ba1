"""Fermions as a term of an action, and the kernels with fermions that the laws check, where exact draws are cheap."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Any

import numpy

from haarflow.core import random
from haarflow.core.chains.hmc import HMC
from haarflow.core.chains.integrators import LEAPFROG, OMELYAN
from haarflow.core.chains.involution import Involutive
from haarflow.core.chains.kernel import Cycle
from haarflow.core.laws.kernels.stationary import Chained
from haarflow.theories.fermions.action import Fermions
from haarflow.theories.fermions.pseudofermions.one_flavour import Root
from haarflow.theories.fermions.pseudofermions.pseudofermion_hmc import Inner, PseudofermionHMC
from haarflow.theories.fermions.wilson import Wilson
from haarflow.theories.gauge.flux_hit import FluxHits
from haarflow.theories.models.schwinger import Schwinger
from haarflow.theories.samplers.u1 import exact_sample
from haarflow.verification.entry import Entry

MODEL, COUPLINGS = Schwinger((2, 2)), {"beta": 1.0, "kappa": 0.15}
ONE = Schwinger((2, 2), flavours=1)
BOUND = 0.67  # of ln|det D| at this kappa: the largest on 260,000 fields is 0.66205


def exact_draws(key: Any, n: int, flavours: int = 2) -> Any:
    """Return exact draws of some flavours on 2x2, from exact pure gauge fields by rejection with powers of |det D|.

    Raises ValueError should a field exceed the bound of the determinant.
    """
    return _drawn(tuple(int(word) for word in key), n, flavours)


@lru_cache(maxsize=4)
def _drawn(words: tuple[int, ...], n: int, flavours: int) -> Any:
    draws, coins = random.split(numpy.asarray(words, dtype="int32"), 2)
    fields = exact_sample(MODEL.gauge, draws, 8 * n, {"beta": COUPLINGS["beta"]}).field
    log_det = -ONE.fermions.action(fields, {"kappa": COUPLINGS["kappa"]})
    if log_det.max() > BOUND:
        raise ValueError(f"rejection needs ln|det D| <= {BOUND}, got {log_det.max():.4f}")
    return fields[numpy.log(random.uniform(coins, (8 * n,))) < flavours * (log_det - BOUND)][:n]


def observables(fields: Any) -> Any:
    """Return the theory's observables of one number, and cosines and sines of loops and of one link."""
    angles = numpy.concatenate([fields[:, 0].sum(axis=1), fields[:, 1].sum(axis=2), fields[:, 0, 0, :1]], axis=1)
    values = MODEL.observables(fields, COUPLINGS)
    own = {name: x for name, x in values.items() if x.ndim == 1 and name != "sign"}
    return own | {"cosine": numpy.cos(angles), "sine": numpy.sin(angles)}


def chained(kernel: Any, flavours: int = 2, **words: Any) -> Any:
    """A kernel with its exact draws; the sines vanish by charge conjugation."""
    means = (("Q", 0.0), *((f"sine[{index}]", 0.0) for index in range(5)))
    return Chained(kernel, partial(exact_draws, flavours=flavours), observables, **{"means": means, **words})


def pseudofermion_hmc(
    kind: Any = PseudofermionHMC, masses: Any = (), inner: Any = (), theory: Any = MODEL, **words: Any
) -> Any:
    """HMC with pseudofermions, with an energy violation of about one."""
    values = {"couplings": COUPLINGS, "step_size": 0.6, "masses": masses}
    return kind(theory, OMELYAN, 2, values, inner, **words)


def one_flavour_hmc(**words: Any) -> Any:
    """The same for one flavour."""
    return pseudofermion_hmc(theory=ONE, **words)


SCALES = (Inner(OMELYAN, 1), Inner(LEAPFROG, 2))
EXACT = HMC(MODEL, OMELYAN, 2, {"couplings": COUPLINGS, "step_size": 0.8})
KERNELS = {
    "hmc_schwinger": chained(EXACT, reversible=True),
    "hmc_schwinger_hits": chained(Cycle((EXACT, FluxHits(MODEL, 2, {"couplings": COUPLINGS})))),
    "pseudofermions": chained(pseudofermion_hmc(), reversible=True),
    "pseudofermions_hasenbusch": chained(pseudofermion_hmc(masses=(0.1,), inner=SCALES), reversible=True),
    "pseudofermions_one_flavour": chained(one_flavour_hmc(root=Root(poles=8, lowest=1e-3)), 1, reversible=True),
    "pseudofermions_volume": Involutive(MODEL, pseudofermion_hmc()),
}


def _this(obj: Any, lattice: tuple[int, ...]) -> Any:
    return obj


FERMION_ENTRIES: tuple[Entry, ...] = (
    Entry("two flavours", "theory", lambda lattice: Fermions(Wilson(lattice)), ((2, 2), (2, 4))),
    *(Entry(name, "kernel", partial(_this, kernel), ((2, 2),)) for name, kernel in KERNELS.items()),
)
