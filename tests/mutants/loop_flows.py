"""Flows along loops with one thing wrong each, and the laws that must see it."""

import dataclasses
from unittest.mock import patch

import numpy
from array_api_compat import array_namespace

from haarflow.flows.loops import link_potential, link_terms, masked
from haarflow.flows.loops.flow import LoopFlow
from haarflow.flows.loops.masked import Masks
from haarflow.flows.loops.step import LoopStep
from haarflow.verification.flow_objects import by_loops
from tests.mutants import Mutant


class NoConstant(LoopFlow):
    """The Laplacian without its constant, which double plaquettes have: right but for log Z."""

    def _slopes(self):
        slopes = super()._slopes()
        return slopes._replace(
            laplacians=slopes.laplacians * (numpy.arange(slopes.laplacians.shape[1]) < len(slopes.products))
        )


class HalfLaplacian(LoopFlow):
    """A divergence 2% too small."""

    def _slopes(self):
        slopes = super()._slopes()
        return slopes._replace(laplacians=0.98 * slopes.laplacians)


class ShortReturn(LoopFlow):
    """The way back takes 98% of the way there."""

    def inverse(self, params, y, condition=None):
        return super().inverse({"coefficients": 0.98 * params["coefficients"]}, y, condition)


class FewerSteps(LoopFlow):
    """The log-determinant is that of one step too few."""

    def forward(self, params, x, condition=None):
        y, _ = super().forward(params, x, condition)
        short = LoopFlow(
            **{field.name: getattr(self, field.name) for field in dataclasses.fields(self)} | {"steps": self.steps - 1}
        )
        return y, short.forward(params, x, condition)[1]


class LateCoefficients(LoopFlow):
    """The first half of each step takes its coefficients at its end."""

    def _coefficients(self, numbers, time, end):
        xp = array_namespace(end)
        half = xp.floor(2.0 * self.steps * time)
        early = half - 2.0 * xp.floor(0.5 * half) < 0.5
        return super()._coefficients(numbers, xp.where(early, time + 0.25 / self.steps, time), end)


class NoCrossTerms(LoopFlow):
    """Second derivatives without those of two passages of a product."""

    def forward(self, params, x, condition=None):
        with patch.object(link_potential, "curvature", lambda forms, u: None):
            return super().forward(params, x, condition)


class ExplicitTwice(LoopFlow):
    """The second half of a step is explicit, too."""

    def forward(self, params, x, condition=None):
        def again(group, plan, around, u):
            xp = array_namespace(u)
            back = -xp.ones_like(xp.real(u[0, 0, ...]))
            return masked._explicit(group, plan, link_potential.scaled(around, back), u)

        with patch.object(masked, "_implicit", again):
            return super().forward(params, x, condition)


class LinesTogether(LoopFlow):
    """The links of a line move together."""

    def forward(self, params, x, condition=None):
        conflicts = link_terms.conflicts
        masked.masks.cache_clear()
        with patch.object(link_terms, "conflicts", lambda products, lattice, line=False: conflicts(products, lattice)):
            moved = super().forward(params, x, condition)
        masked.masks.cache_clear()
        return moved


class Crowded(LoopStep):
    """A mask of half the index: two masks at once."""

    def _part(self, lattice):
        parts = [LoopStep._part(dataclasses.replace(self, mask=self.mask + k), lattice) for k in (0, 1)]
        reads = numpy.concatenate([part.reads for part in parts], axis=2)
        writes, last, count = parts[0].writes.copy(), parts[1].writes, parts[0].reads.shape[2]
        writes[last >= last.shape[1]] = last[last >= last.shape[1]] + count
        return Masks(parts[0].plan, reads, writes, parts[0].owners)


WORDS = {"lattice": (3, 3), "size": "small"}
TINY = {"lattice": (2, 2), "size": "small"}
INTEGRATED = {"steps": 1, "degree": 1, "scheme": "continuous"}
DENSE = ("log_det_by_differences",)

MUTANTS = (
    Mutant(
        "a divergence without its constant",
        "model",
        by_loops(NoConstant(2, 2, 2, 2.0, **INTEGRATED)),
        ("integration_order",),
        WORDS,
    ),
    Mutant(
        "a divergence 2% too small",
        "model",
        by_loops(HalfLaplacian(2, 2, 1, 2.0, **INTEGRATED)),
        ("integration_order",),
        TINY,
    ),
    Mutant(
        "a way back that stops short",
        "model",
        by_loops(ShortReturn(2, 2, 1, 2.0, **INTEGRATED)),
        ("reversal_order",),
        TINY,
    ),
    Mutant("a log-det of one step too few", "model", by_loops(FewerSteps(2, 2, 1, 2.0, degree=0)), DENSE, TINY),
    Mutant(
        "coefficients at one end of half a step",
        "model",
        by_loops(LateCoefficients(2, 2, 1, 2.0, 1, 1)),
        ("step_order",),
        {**TINY, "size": "one"},
    ),
    Mutant(
        "a product that passes a link once",
        "model",
        by_loops(NoCrossTerms(2, 2, 1, 2.0, 1, 0)),
        DENSE,
        {"lattice": (2, 1)},
    ),
    Mutant("two explicit halves", "model", by_loops(ExplicitTwice(2, 2, 1, 2.0, 1, 0)), ("step_order",), TINY),
    Mutant(
        "links of a line that move together",
        "model",
        by_loops(LinesTogether(2, 2, 1, degree=0, steps=1, lines=(2.0, -1.5))),
        DENSE,
        {"lattice": (2, 2)},
    ),
    Mutant(
        "two masks at once",
        "model",
        by_loops(Crowded(LoopFlow(2, 2, 1, 2.0))),
        ("frozen_components", *DENSE),
        {"lattice": (2, 2)},
    ),
)
