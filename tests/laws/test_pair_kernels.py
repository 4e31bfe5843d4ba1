"""The exact schemes for pairs obey the laws of kernels on the Yukawa model of 2x2 sites, and wrong members are caught.

On NumPy, whose numbers are those of the other backends. Sampled laws allow 5 standard errors for each of some 12 numbers; the
seeds are fixed.
"""

import pytest

from haarflow.core.laws.law import Given
from haarflow.core.laws.tables import KERNEL_LAWS
from haarflow.verification.pair_kernels import LATTICE, kernels
from tests.mutants.pairs.kernels import MUTANTS

LAWS = {law.name: law for law in KERNEL_LAWS}
QUICK = {"stationary", "time_reversal", "fresh_cache", "blocks", "exact_draws"}


@pytest.mark.parametrize("name", kernels())
def test_kernels_of_pairs_obey_their_laws(name):
    failed = {law: found for law in QUICK if not (found := LAWS[law].verdict(kernels()[name], Given(LATTICE))).passed}
    assert not failed, failed


@pytest.mark.statistical
@pytest.mark.parametrize("name", kernels())
def test_kernels_of_pairs_obey_all_laws(name):
    verdicts = {law.name: law.verdict(kernels()[name], Given(LATTICE)) for law in KERNEL_LAWS}
    assert not {law: verdict for law, verdict in verdicts.items() if not verdict.passed}


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_every_mutant_is_caught_by_the_law_meant_for_it(mutant):
    for law in mutant.laws:
        assert not LAWS[law].verdict(mutant.make(LATTICE), Given(LATTICE, **mutant.given)).passed, law
