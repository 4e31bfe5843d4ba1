"""An engine's global settings change nothing: devices, types and ranks are explicit.

PyTorch's default device is "meta", which stands for "cuda", and its default type float16: results stay the same bit for
bit. JAX promotes neither ranks nor types: functions are traced, which is where it would raise.
"""

import contextlib
import sys

import pytest

from haarflow.backends.tree import leaves
from haarflow.core import random
from haarflow.core.chains import kernel as kernels
from haarflow.core.laws.fields import algebra_shape, element_shape
from haarflow.core.laws.law import Given
from haarflow.core.parts import described
from haarflow.flows.laws.cases import conditions
from haarflow.flows.scalar.architectures import copula
from haarflow.flows.training.loop import Training, start, train_step
from haarflow.theories import Phi4
from haarflow.theories.laws.cases import couplings_of, field_of
from haarflow.verification.core_objects import PHI4, SCALARS
from haarflow.verification.objects import ENTRIES
from tests.conftest import member


@contextlib.contextmanager
def other_settings(name):
    """Global settings under which only explicit devices, types and ranks work."""
    engine = sys.modules[name]
    if name == "jax":
        with engine.numpy_rank_promotion("raise"), engine.numpy_dtype_promotion("strict"):
            yield
        return
    before = engine.get_default_dtype()
    engine.set_default_dtype(engine.float16)
    try:
        with engine.device("meta"):
            yield
    finally:
        engine.set_default_dtype(before)


def unchanged(call, arguments, backend):
    """Assert that a function gives under other settings what it gives without."""
    if backend.name == "jax":
        with other_settings("jax"):
            sys.modules["jax"].eval_shape(call, *arguments)
        return
    expected = leaves(call(*arguments))
    with other_settings("torch"):
        found = leaves(call(*arguments))
    for one, other in zip(expected, found, strict=True):
        assert (one.dtype, one.device) == (other.dtype, other.device)
        assert backend.to_numpy(one).tobytes() == backend.to_numpy(other).tobytes()


def use_model(model, given):
    backend = given.backend

    def call(key, condition):
        params = model.init(key)
        field, log_q = model.sample(params, key, given.batch, condition)

        def loss(params):
            moved, _ = model.flow.forward(params, field, condition)
            return backend.xp.sum(model.log_density(params, moved, condition))

        return field, log_q, backend.value_and_grad(loss)(params)

    return call, (given.key(), conditions(model, given))


def use_theory(theory, given):
    backend, parts = given.backend, described(theory)

    def call(field, couplings):
        total = backend.value_and_grad(lambda field: backend.xp.sum(theory.action(field, couplings)))(field)
        force = None if parts.missing("force") else theory.force(field, couplings)
        density = None if parts.missing("local") else theory.local.density(field, couplings)
        return total, force, density, parts.observables and theory.observables(field, couplings)

    return call, (field_of(theory, given), couplings_of(theory, given))


def use_kernel(chained, given):
    kernel = getattr(chained, "kernel", chained)
    theory = getattr(kernel, "theory", SCALARS)  # cycles and repeats are of scalars

    def call(key, field):
        state, records = kernels.run(kernel, key, kernel.init(field), draws=2)
        return state.field, records

    return call, (given.key(), field_of(theory, given))


def use_group(group, given):
    shape = element_shape(group, (given.batch,), given.lattice)

    def call(key, a, w):
        drawn = a if group.name in ("Real", "Complex") else group.haar(key, shape)
        momenta = group.algebra_normal(key, shape)
        moved = group.update(group.compose(a, group.inverse(drawn)), momenta)
        return moved, group.log(a), group.exp(w), group.project(moved), group.inner(momenta, momenta)

    return call, (given.key(), given.elements(group, shape), given.normal(algebra_shape(group, shape)))


def use_prior(prior, given):
    def call(key):
        field = prior.sample(key, given.batch, "float64")
        return field, prior.log_density(field)

    return call, (given.key(),)


USES = {"model": use_model, "theory": use_theory, "kernel": use_kernel, "group": use_group, "prior": use_prior}
OBJECTS = {f"{entry.kind} {entry.name}": entry for entry in ENTRIES if entry.kind in USES}
FEW = (
    "group SU(3)",
    "theory phi^4 d=2",
    "kernel hmc_su2",
    "kernel local_u1",
    "prior free field",
    "model momentum scaling",
)


@pytest.mark.parametrize("engine", ("jax", "torch"))
@pytest.mark.parametrize(
    "name", [name if name in FEW else pytest.param(name, marks=pytest.mark.slow) for name in OBJECTS]
)
def test_settings_change_nothing(engine, name):
    entry, backend = OBJECTS[name], member(engine)
    given = Given(entry.lattices[0], backend=backend, batch=2)
    unchanged(*USES[entry.kind](entry.make(given.lattice), given), backend)


@pytest.mark.parametrize("engine", ("jax", "torch"))
def test_settings_do_not_change_training(engine):
    backend = member(engine)
    training = Training(copula((2, 2)), Phi4((2, 2)), batch=4)

    def call(key):
        state, info = train_step(training, start(training, key), PHI4)
        return state.params, info

    unchanged(call, (random.key(0, backend),), backend)


def promotes_ranks(x):
    return x + x[0]


def promotes_types(x):
    return x * (1j * x)


def takes_the_default_device(x):
    return sys.modules["torch"].zeros(3, dtype=x.dtype)


def takes_the_default_type(x):
    return sys.modules["torch"].zeros(3, device=x.device)


@pytest.mark.parametrize(
    "engine, planted",
    [
        ("jax", promotes_ranks),
        ("jax", promotes_types),
        ("torch", takes_the_default_device),
        ("torch", takes_the_default_type),
    ],
)
def test_what_leaves_it_to_the_engine_is_caught(engine, planted):
    backend = member(engine)
    with pytest.raises((AssertionError, ValueError, TypeError)):
        unchanged(planted, (backend.asarray([[1.0, 2.0]]),), backend)
