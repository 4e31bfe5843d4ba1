"""The least a theory has: a frozen record with a lattice, a group and an action."""

from dataclasses import dataclass

import numpy as np
import pytest
from array_api_compat import array_namespace

from haarflow.backends import NoAutodiff
from haarflow.core.groups import Real
from haarflow.core.lattice import shift
from haarflow.theories.theory import Theory, autodiff_force, check_couplings, check_theory, couplings_for, force_of
from tests.theory_laws import difference_force


@dataclass(frozen=True)
class SineGordon:
    """S = sum_x [ 1/2 (phi(x+1) - phi(x))^2 - beta cos phi(x) ] on a ring."""

    lattice: tuple[int, ...]
    group = Real()
    couplings = {"beta": 1.0}  # noqa: RUF012
    force = autodiff_force

    def action(self, field, couplings=None):
        xp, c = array_namespace(field), couplings_for(self, field, couplings)
        return xp.sum(0.5 * (shift(field, 0, 1) - field) ** 2 - c["beta"] * xp.cos(field), axis=-1)


@dataclass(frozen=True)
class Bare:
    """No couplings and no force."""

    lattice: tuple[int, ...]
    group = Real()

    def action(self, field, couplings=None):
        return array_namespace(field).sum(field**2, axis=-1)


def test_an_action_of_a_few_lines_has_a_force(autodiff_backend):
    theory, field = SineGordon((5,)), np.random.default_rng(0).normal(size=(5,))
    force = theory.force(autodiff_backend.asarray(field[None]), {"beta": 0.4})
    found = autodiff_backend.to_numpy(force)[0]
    assert np.max(np.abs(found - difference_force(theory, field, {"beta": 0.4}))) < 1e-9


def test_the_least_theory_is_enough(autodiff_backend):
    theory = check_theory(Bare((3,)))
    assert isinstance(theory, Theory) and check_couplings(theory) == {}
    field = np.asarray([[1.0, 2.0, 3.0]])
    assert np.allclose(autodiff_backend.to_numpy(force_of(theory)(autodiff_backend.asarray(field))), 2 * field)
    with pytest.raises(NoAutodiff, match="choose jax or torch"):
        force_of(theory)(field)
    with pytest.raises(ValueError, match="no couplings, got 'beta'"):
        check_couplings(theory, {"beta": 1.0})


def test_what_is_no_theory_is_refused():
    with pytest.raises(TypeError, match="int lacks lattice, group, action"):
        check_theory(3)
