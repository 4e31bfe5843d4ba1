"""Every object of the core obeys its laws on every backend, and every mutant is caught by the law meant for it."""

import functools

import pytest

from haarflow import backends
from haarflow.core import random
from haarflow.core.laws.kernels import tables as kernels
from haarflow.core.laws.law import Given
from haarflow.core.laws.tables import BACKEND_LAWS, GROUP_LAWS, KERNEL_LAWS, RANDOM_LAWS
from haarflow.verification.core_objects import GROUPS, KERNELS
from tests.conftest import MEMBERS, member
from tests.mutants.core import MUTANTS

LAWS = {"backend": BACKEND_LAWS, "random": RANDOM_LAWS, "group": GROUP_LAWS, "kernel": KERNEL_LAWS}
LATTICES = [(3,), (4, 3), (2, 2, 2), (2, 2, 2, 2), (40,)]
STYLES = ("seam", "huge")  # besides the plain one
# JAX takes seconds to compile a program, strict is slow at every step: they run these by default, the rest as slow tests
QUICK = {
    "jax": {"backend": [(4, 3), (40,)], "group": ["Real", "U1", "SU(3)"], "kernel": ["hmc_phi4"], "mutant": ["group"]},
    "strict": {
        "group": ["Real", "U1", "SU(3)"],
        "kernel": ["hmc_u1_omelyan", "local_phi4", "independence_u1", "heat_bath_few_tries", "cycle"],
    },
    "torch": {
        "group": ["Real", "U1", "SU(2)"],
        "kernel": ["hmc_phi4", "local_u1", "independence_phi4", "heat_bath_overrelaxed", "repeat"],
    },
    "float32": {"kernel": ["hmc_phi4_forest_ruth", "local_u1", "independence_phi4", "heat_bath", "cycle"]},
    "readonly": {
        "group": ["Real", "U1", "SU(2)"],
        "kernel": ["hmc_phi4", "heat_bath_overrelaxed", "cycle"],
        "mutant": ["backend", "random", "group"],
    },
}


# laws of a kernel's class and group, on lattices of their own: held for the first kernel of each, on backends that do not
# compile every shape
ONCE = {"chains_apart", "remembers_nothing"}


def kind_of(obj):
    """The class of a kernel and the group of its theory."""
    kernel = kernels.kernel_of(obj)
    return type(kernel).__name__, kernels.theory_of(kernel).group.name


FIRST = {kind_of(kernel): name for name, kernel in reversed(KERNELS.items())}.values()


def pairs(what, things, names=MEMBERS):
    """All backends with all objects, marked slow where QUICK does not list them; `things` are (name in QUICK, object)."""
    found = []
    for name in names:
        for word, thing in things:
            quick = QUICK.get(name, {}).get(what)
            marks = () if quick is None or word in quick else pytest.mark.slow
            found.append(pytest.param(name, thing, marks=marks, id=f"{name}-{getattr(thing, 'name', thing)}"))
    return found


@functools.cache
def engine(name, dtype="float64"):
    """A backend, in single precision for float32."""
    record = member(name)
    return record if dtype == "float64" or record.name == "standard" else backends.get(record.name, dtype=dtype)


def held(kind, obj, given, only=None):
    """Check an object against all laws of its kind (or only those named); return what failed, by name."""
    failed = {}
    for law in LAWS[kind]:
        if (only is None or law.name in only) and law.applies(obj) is None:
            verdict = law.check(obj, given)
            if not verdict.passed:
                failed[law.name] = (verdict.residual, verdict.tolerance, verdict.reason)
    return failed


@pytest.mark.parametrize(("name", "lattice"), pairs("backend", [(lattice, lattice) for lattice in LATTICES]))
def test_backends_obey_their_laws(name, lattice):
    record = engine(name)
    assert not held("backend", record, Given(lattice, backend=record, seed=len(lattice)))


@pytest.mark.parametrize("name", ["numpy", "strict", "torch", "jax"])
def test_backends_obey_their_laws_in_single_precision(name):
    if name not in MEMBERS:
        pytest.skip(f"{name} is not here")
    record = engine(name, "float32")
    laws = {"convolution", "convolution_net", "small_matrices", "sine_and_cosine", "scanning", "derivatives"}
    assert not held("backend", record, Given((4, 3), backend=record, dtype="float32"), laws)


@pytest.mark.parametrize("name", MEMBERS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_random_numbers_obey_their_laws(name, dtype):
    record = engine(name, dtype)
    if dtype == "float32" and name == "jax":
        only = {"same_bits", "open_interval", "box_muller", "disjoint_streams"}
        assert not held("random", random, Given(backend=record, dtype=dtype, seed=1), only)
        return
    laws = {law.name for law in RANDOM_LAWS if not (law.programs and name == "jax")}
    assert not held("random", random, Given(backend=record, dtype=dtype, seed=2**40 + 3), laws)


@pytest.mark.parametrize(("name", "group"), pairs("group", [(group, group) for group in GROUPS]))
def test_groups_obey_their_laws(name, group):
    """Laws of random draws do not depend on the style of the input, so one style is enough."""
    record, fixed = engine(name), {law.name for law in GROUP_LAWS if not law.sampled}
    assert not held("group", GROUPS[group], Given((4, 3), backend=record))
    for style in () if name == "jax" else STYLES:
        assert not held("group", GROUPS[group], Given((4, 3), style=style, backend=record), fixed)
    single = Given((4, 3), style="seam", dtype="float32", backend=engine(name, "float32"))
    assert name == "jax" or not held("group", GROUPS[group], single)


@pytest.mark.parametrize(("name", "kernel"), pairs("kernel", [(kernel, kernel) for kernel in KERNELS]))
def test_kernels_obey_their_laws(name, kernel):
    """Sampled laws allow 5 standard errors for each of some 15 numbers: 1e-5 per kernel to fail by luck; fixed seeds."""
    skipped = set() if kernel in FIRST and name in ("numpy", "torch") else ONCE
    laws = {law.name for law in KERNEL_LAWS} - skipped
    assert not held("kernel", KERNELS[kernel], Given((2, 2), backend=engine(name)), laws)


@pytest.mark.parametrize(("dtype", "kernel"), pairs("kernel", [(kernel, kernel) for kernel in KERNELS], ("float32",)))
def test_kernels_obey_their_laws_in_single_precision(dtype, kernel):
    laws = {law.name for law in KERNEL_LAWS} - ONCE
    assert not held("kernel", KERNELS[kernel], Given((2, 2), backend=engine("numpy", dtype), dtype=dtype), laws)


@pytest.mark.parametrize(("name", "mutant"), pairs("mutant", [(mutant.kind, mutant) for mutant in MUTANTS]))
def test_every_mutant_is_caught_by_the_law_meant_for_it(name, mutant):
    record, words = engine(name), {"lattice": (4, 3) if mutant.kind != "kernel" else (2, 2), **mutant.given}
    if mutant.kind == "backend":
        obj = mutant.make(words["lattice"])(record)
    else:
        obj = mutant.make(words["lattice"])
    laws = {law.name: law for law in LAWS[mutant.kind]}
    if mutant.name == "conv that writes into its argument" and name == "jax":
        pytest.skip("JAX has no arrays that can be written to")
    for law in mutant.laws:
        reason = laws[law].applies(obj)
        if reason is not None:
            assert mutant.kind == "backend" and not record.autodiff
            continue
        try:
            verdict = laws[law].check(obj, Given(backend=record, **words))
        except ValueError as refused:
            assert name == "readonly" and "read-only" in str(refused)
            continue
        assert not verdict.passed, f"{law} lets it pass: {verdict.residual:.3g} <= {verdict.tolerance:.3g}"


def test_every_law_has_a_mutant():
    meant = {(mutant.kind, law) for mutant in MUTANTS for law in mutant.laws}
    assert meant == {(kind, law.name) for kind, laws in LAWS.items() for law in laws}


def test_a_kinetic_term_and_momenta_that_are_wrong_together_need_a_law_of_their_own(host):
    """<exp(-dH)> = 1 and stationarity hold; only the laws of the kinetic energy and of the integrator's order fail."""
    (wrong,) = [mutant for mutant in MUTANTS if mutant.name == "kinetic term and momenta off by two"]
    blind = {"exp_minus_dh", "accept_rule", "stationary", "equilibrium", "reversible"}
    assert not held("kernel", wrong.make((2, 2)), Given((2, 2), backend=host), blind)


def test_a_second_block_compiles_nothing():
    """With arrays committed to a device, a run that continued from its own state used to be compiled twice."""
    jax = pytest.importorskip("jax")
    from haarflow.core.chains.kernel import run

    record, compiled = engine("jax"), []
    kernel = KERNELS["hmc_phi4"].kernel
    fields = record.asarray([[[0.1, 0.2], [0.3, 0.4]]])
    key = random.fold_in(random.key(1, record), 7)
    state, _ = run(kernel, key, kernel.init(fields), 3)

    def listen(event, *_, **__):
        compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        run(kernel, key, state, 3, start=3)
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert not [event for event in compiled if "backend_compile" in event]
