"""Wrong backends, generators, groups and kernels, each with the laws that must catch it."""

from tests.mutants import Mutant, backends, groups, hidden, kernels, matrices, random_numbers, spins

MUTANTS: tuple[Mutant, ...] = (
    *backends.BACKENDS,
    *random_numbers.RANDOM,
    *groups.GROUPS,
    *matrices.GROUPS,
    *kernels.KERNELS,
    *matrices.KERNELS,
    *hidden.KERNELS,
    *spins.GROUPS,
    *spins.KERNELS,
)
