"""Where a chain may start."""

import numpy
import pytest

from haarflow.core.chains.checks import check_start
from haarflow.core.spaces import Pair


@pytest.mark.parametrize("bad", [[numpy.nan], [numpy.inf], [numpy.inf, -numpy.inf], [-numpy.inf, numpy.nan]])
@pytest.mark.parametrize("imaginary", [False, True])
def test_a_field_with_a_value_that_is_not_finite_is_refused_by_its_part(backend, bad, imaginary):
    field = numpy.zeros((3, 4), dtype=complex) if imaginary else numpy.zeros((3, 4))
    field[1, : len(bad)] = [complex(0.0, x) if imaginary else x for x in bad]
    with pytest.raises(ValueError, match="NaN or infinite values in its part 'phi'"):
        check_start(Pair(backend.asarray(numpy.zeros((3, 4))), backend.asarray(field)))


def test_finite_values_whose_sum_overflows_are_no_fault(backend):
    check_start(backend.asarray(numpy.full((3, 4), 1e308)))
