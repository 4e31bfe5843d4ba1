"""Wrong groups of one angle, with the laws that must catch them; those of matrices stand in matrices.py."""

import math

from array_api_compat import array_namespace

from haarflow.core import random
from haarflow.core.groups.additive import U1, wrap
from tests.mutants import Mutant


class NeverAtRest(U1):
    def project(self, a):
        return wrap(a + 0.5)


class ExpDoubled(U1):
    def exp(self, w):
        return self.project(2.0 * w)

    def log(self, a):
        return 0.5 * self.project(a)

    def update(self, a, w):
        return a + 2.0 * w


class ExpBent(U1):
    def exp(self, w):
        return self.project(w + 0.01 * w * w)


class LogOffByATurn(U1):
    def log(self, a):
        return self.project(a) + 2 * math.pi


class UpdateBackwards(U1):
    def update(self, a, w):
        return a - w


class Quotient(U1):
    def compose(self, a, b):
        return self.project(a - b)


class NoInverse(U1):
    def inverse(self, a):
        return self.project(a)


class Unwrapped(U1):
    def compose(self, a, b):
        return a + b


class HaarSkewed(U1):
    def haar(self, key, shape, dtype="float64"):
        return 2 * math.pi * (random.uniform(key, shape, dtype) ** 1.1 - 0.5)


class HaarOfAHalf(U1):
    def haar(self, key, shape, dtype="float64"):
        return math.pi * (random.uniform(key, shape, dtype) - 0.5)


class HaarOfFourRoots(U1):
    def haar(self, key, shape, dtype="float64"):
        u = random.uniform(key, shape, dtype)
        return 0.5 * math.pi * array_namespace(u).floor(4.0 * u) - math.pi


class WideMomenta(U1):
    def algebra_normal(self, key, shape, dtype="float64"):
        return 1.3 * random.normal(key, shape, dtype)


class InnerHalved(U1):
    def inner(self, v, w):
        return 0.5 * v * w


def group(kind, *laws, name=None, **given):
    return Mutant(f"group {kind.__name__}", "group", lambda lattice: kind(), laws, given)


GROUPS = (
    group(NeverAtRest, "projection"),
    group(ExpDoubled, "exponential"),
    group(ExpBent, "one_parameter", "exponential", "update_by_exponential"),
    group(LogOffByATurn, "logarithm"),
    group(UpdateBackwards, "update_by_exponential"),
    group(Quotient, "associativity", "inverses"),
    group(NoInverse, "inverses"),
    group(Unwrapped, "closure", lattice=(4, 4)),
    group(HaarSkewed, "haar_moments", "left_invariance", "right_invariance"),
    group(HaarOfAHalf, "haar_moments", "left_invariance", "right_invariance"),
    group(HaarOfFourRoots, "haar_moments", "left_invariance", "right_invariance"),
    group(WideMomenta, "momenta"),
    group(InnerHalved, "inner_product", "momenta"),
)
