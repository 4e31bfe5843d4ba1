"""HMC of the Schwinger model, by determinant and by pseudofermions, obeys the laws of kernels, and wrong members are caught.

On NumPy: the other backends give the same numbers (tests/theories/fermions/test_pseudofermion_hmc.py), and the stationarity
of one backend is that of all. Sampled laws allow 5 standard errors for each of some 20 numbers; the seeds are fixed.
"""

import pytest

from haarflow.core.laws.law import Given
from haarflow.core.laws.tables import KERNEL_LAWS
from haarflow.verification.fermion_objects import KERNELS
from tests.mutants.fermion_kernels import MUTANTS

LAWS = {law.name: law for law in KERNEL_LAWS}
QUICK = {"stationary", "time_reversal", "applied_twice", "involution_volume", "in_turn", "fresh_cache", "blocks"}


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_obey_their_laws(name):
    given = Given((2, 2), dtype="float64")
    failed = {law: verdict for law in sorted(QUICK) if not (verdict := LAWS[law].verdict(KERNELS[name], given)).passed}
    assert not failed, failed


@pytest.mark.statistical
@pytest.mark.parametrize("name", KERNELS)
def test_kernels_obey_all_laws(name):
    failed = {
        law.name: verdict for law in KERNEL_LAWS if not (verdict := law.verdict(KERNELS[name], Given((2, 2)))).passed
    }
    assert not failed, failed


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_every_mutant_is_caught_by_the_law_meant_for_it(mutant):
    wrong = mutant.make((2, 2))
    for law in mutant.laws:
        assert not LAWS[law].verdict(wrong, Given((2, 2), **mutant.given)).passed, law
