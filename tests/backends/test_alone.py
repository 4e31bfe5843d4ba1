"""No two threads run functions of host arrays where JAX is loaded."""

import threading

import numpy
import pytest

from haarflow import backends
from haarflow.backends.alone import alone
from haarflow.core import random

pytest.importorskip("jax")


def draw_on_numpy():
    random.normal(random.key(0, backends.get("numpy")), (8,))


def write_on_numpy():
    x = numpy.zeros(4)
    backends.get("numpy").on_host(lambda into, x: into[0].fill(1.0), None, (x,), x)


def write_on_torch():
    pytest.importorskip("torch")
    x = backends.get("torch").asarray([0.0])
    backends.get("torch").on_host(lambda into, x: into[0].fill(1.0), None, (x,), x)


def write_in_a_jax_program():
    from haarflow.backends.compiled import xla_calls

    backend = backends.get("jax")
    x = backend.asarray([0.0])
    backend.to_numpy(backend.jit(lambda x: xla_calls.call(lambda into, x: into[0].fill(1.0), (x,), x)[0])(x))


@pytest.mark.parametrize("work", [draw_on_numpy, write_on_numpy, write_on_torch, write_in_a_jax_program])
def test_a_thread_waits_while_another_calls(work):
    """It cannot end before it may begin; half a second is only how long the mistake has to show itself."""
    backends.get("jax")
    work()  # compiled, and it does not wait for its own thread
    other = threading.Thread(target=work)
    with alone():
        other.start()
        other.join(0.5)
        assert other.is_alive()
    other.join(60.0)
    assert not other.is_alive()
