"""The hand-written twins that speed is measured against give the library's numbers: a fast wrong answer is refused."""

import pytest

from haarflow import backends
from haarflow.benchmarks import flow_speed
from haarflow.core import random


@pytest.mark.slow
@pytest.mark.parametrize("name", ["phi4", "u1"])
def test_twins_give_the_same_field_log_determinant_and_gradient(name):
    import jax

    pytest.importorskip("torch")
    jax.config.update("jax_enable_x64", True)
    backend = backends.get("jax")
    model, theory = flow_speed.definition(name)
    flow_speed.check(name, model, theory, model.init(random.key(1, backend)), backend)
