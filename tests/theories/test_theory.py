"""The least a theory has: a frozen record with a lattice, a group and an action."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from array_api_compat import array_namespace

from haarflow.backends import NoAutodiff
from haarflow.core.groups.additive import Real
from haarflow.theories.theory import Theory, check_couplings, check_field, check_theory, force_of


@dataclass(frozen=True)
class Bare:
    """No couplings and no force."""

    lattice: tuple[int, ...]
    group = Real()

    def action(self, field, couplings=None):
        return array_namespace(field).sum(field**2, axis=-1)


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


@pytest.mark.parametrize("lacks", ["dtype", "shape"])
def test_what_is_no_array_is_refused_with_the_remedy(lacks):
    field = SimpleNamespace(**{"dtype": np.float64, "shape": (3,)})
    delattr(field, lacks)
    with pytest.raises(
        TypeError, match=r"wants an array of shape .*, got SimpleNamespace: convert with backend.asarray"
    ):
        check_field(Bare((3,)), field)
