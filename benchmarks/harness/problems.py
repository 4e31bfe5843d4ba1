"""What is timed: a theory, its flow, a lattice and a batch size, all from one seed.

`SUBJECTS` is the whole list; another theory is one line. Fields, parameters and keys come from the library's random
generator, whose bits are the same on every backend, so that all backends compute the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from haarflow.backends.tree import flatten
from haarflow.core import random
from haarflow.flows.catalogue import constructor
from haarflow.flows.scalar import architectures
from haarflow.flows.sun import architectures as architectures_sun
from haarflow.flows.u1 import architectures as architectures_u1
from haarflow.run.own import Own
from haarflow.theories import Phi4, SUNGauge, U1Gauge, accelerated
from haarflow.theories.theory import field_shape

SITES = (
    0.4  # standard deviation of the initial phi^4 field, that of the theory; HMC would be unstable from a larger one
)
NOISE = 0.1  # a new flow is often the identity: normal noise of this size is added to every parameter


class DoesNotApply(ValueError):
    """There is no such workload for this subject."""


class Subject(NamedTuple):
    """Functions from lattices to a theory and its model, the couplings, and the step size of its leapfrog trajectories."""

    theory: Callable[[tuple[int, ...]], Any]
    model: Callable[[tuple[int, ...]], Any]
    couplings: dict[str, float]
    step_size: float = 0.1


def _sun(n: int, beta: float) -> Subject:
    def model(lattice: tuple[int, ...]) -> Any:
        return architectures_sun.trivialising(lattice, n, steps=2, beta=beta)

    return Subject(lambda lattice: SUNGauge(lattice, n), model, {"beta": beta})


SUBJECTS: dict[str, Subject] = {
    "phi4": Subject(Phi4, architectures.tutorial, {"m2": -4.0, "lam": 8.0}, 0.05),
    "u1": Subject(U1Gauge, architectures_u1.tutorial, {"beta": 2.0}),
    "su2": _sun(2, 2.2),
    "su3": _sun(3, 5.0),
}


def subject_of(name: str) -> Subject:
    """Return a subject of the table, or a custom one: `module:name` of a theory, optionally followed by `,module:name` of a flow.

    Raises ValueError for any other name.

    >>> subject_of("phi4").couplings
    {'m2': -4.0, 'lam': 8.0}
    """
    if name in SUBJECTS:
        return SUBJECTS[name]
    theory, _, flow = name.partition(",")
    if ":" not in theory:
        raise ValueError(f"a subject is one of {', '.join(SUBJECTS)}, or --theory module:name, got {name!r}")
    row = Own(theory).theories[theory]
    couplings = {word: float(entry.default or 0.0) for word, entry in row.couplings.items()}
    return Subject(row.make, constructor(Own(flow=flow).flows("")[flow]) if flow else _no_flow, couplings)


def _no_flow(lattice: tuple[int, ...]) -> Any:
    raise DoesNotApply("no flow was named with the theory: add --flow module:name")


@dataclass(frozen=True)
class Problem:
    """One size of one subject; `dtype` is float64 or float32.

    Raises ValueError for a subject that is neither in the table nor a `module:name`.

    >>> Problem("u1", (4, 4), 3).theory.field_shape
    (2, 4, 4)
    """

    subject: str
    lattice: tuple[int, ...] = (8, 8)
    batch: int = 64
    seed: int = 1
    dtype: str = "float64"

    def __post_init__(self):
        subject_of(self.subject)
        object.__setattr__(self, "lattice", tuple(self.lattice))

    @property
    def theory(self) -> Any:
        """The theory on the lattice, with its compiled kernels."""
        return accelerated(subject_of(self.subject).theory(self.lattice))

    @property
    def model(self) -> Any:
        """The prior and the flow on the lattice."""
        return subject_of(self.subject).model(self.lattice)

    @property
    def couplings(self) -> dict[str, float]:
        """The couplings' values."""
        return subject_of(self.subject).couplings

    @property
    def step_size(self) -> float:
        """The leapfrog step."""
        return subject_of(self.subject).step_size

    def key(self, purpose: int, backend: Any) -> Any:
        """Return the random key for one purpose."""
        return random.fold_in(random.key(self.seed, backend), purpose)

    def field(self, backend: Any) -> Any:
        """Return the batch of fields: normal sites, links of Haar's measure."""
        theory, key = self.theory, self.key(0, backend)
        shape = (self.batch, *field_shape(theory))
        if theory.group.name == "Real":
            return SITES * random.normal(key, shape, self.dtype)
        return theory.group.haar(key, shape, self.dtype)

    def params(self, backend: Any) -> Any:
        """Return the flow's parameters with normal noise of size NOISE."""
        leaves, rebuild = flatten(self.model.init(self.key(1, backend), self.dtype))
        keys = random.split(self.key(2, backend), max(len(leaves), 1))
        noise = [random.normal(keys[row, :], tuple(leaf.shape), self.dtype) for row, leaf in enumerate(leaves)]
        return rebuild([leaf + NOISE * part for leaf, part in zip(leaves, noise, strict=True)])

    def seen(self, field: Any, backend: Any) -> Any:
        """Return a field in a form that can be compared between backends: angles as sine and cosine, because pi is -pi."""
        return backend.sincos(field) if self.theory.group.name == "U1" else field

    def as_dict(self) -> dict[str, Any]:
        """Return the problem as JSON can hold it."""
        return asdict(self) | {"lattice": list(self.lattice)}
