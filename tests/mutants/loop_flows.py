"""Flows in continuous time with one thing wrong each, and the laws that must see it."""

from haarflow.flows.loops import equation
from haarflow.flows.loops.flow import LoopFlow
from haarflow.verification.flow_objects import by_loops
from tests.mutants import Mutant


class NoConstant(LoopFlow):
    """The Laplacian without its constant, which double plaquettes have: right but for log Z."""

    def _slope(self, numbers, rows, time, lattice):
        slope, laplacian = super()._slope(numbers, rows, time, lattice)
        table = equation.laplacians(self.n, self.d, self.order, self.rectangle)
        c = sum(numbers[power, ...] * time**power for power in range(self.degree + 1))
        lost = lattice[0] * lattice[1] * sum(float(table[k, -1]) * c[k, :] for k in range(len(table)))
        return slope, laplacian - lost


class HalfLaplacian(LoopFlow):
    """A divergence 2% too small."""

    def _slope(self, numbers, rows, time, lattice):
        slope, laplacian = super()._slope(numbers, rows, time, lattice)
        return slope, 0.98 * laplacian


class ShortReturn(LoopFlow):
    """The way back takes 98% of the way there."""

    def inverse(self, params, y, condition=None):
        return super().inverse({"coefficients": 0.98 * params["coefficients"]}, y, condition)


WORDS = {"lattice": (3, 3), "size": "small"}

MUTANTS = (
    Mutant(
        "a divergence without its constant",
        "model",
        by_loops(NoConstant(2, 2, 2, 2.0, steps=1, degree=1)),
        ("integration_order",),
        WORDS,
    ),
    Mutant(
        "a divergence 2% too small",
        "model",
        by_loops(HalfLaplacian(2, 2, 1, 2.0, steps=1, degree=1)),
        ("integration_order",),
        {"lattice": (2, 2), "size": "small"},
    ),
    Mutant(
        "a way back that stops short",
        "model",
        by_loops(ShortReturn(2, 2, 1, 2.0, steps=1, degree=1)),
        ("reversal_order",),
        {"lattice": (2, 2), "size": "small"},
    ),
)
