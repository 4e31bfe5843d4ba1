"""Pairs of links and pseudofermions: their density is the product, their weights give the partition function with fermions."""

import math

import numpy
import pytest

from haarflow import backends
from haarflow.core import random
from haarflow.core.chains.kernel import run
from haarflow.core.chains.metropolis import IndependenceMetropolis
from haarflow.core.lattice import loops
from haarflow.core.spaces import Pair
from haarflow.core.statistics import gamma_method, jackknife, log_z
from haarflow.flows.modelfile import ModelFileError, open_model, save_model
from haarflow.flows.pairs import autoregressive_and_hops, effective_beta, effective_lines, loops_and_hops
from haarflow.flows.sampling.draws import draw
from haarflow.flows.training.gradients import ReverseKL
from haarflow.theories.exact import sun_torus, u1_torus
from haarflow.theories.fermions.traces import traces
from haarflow.theories.models.qcd import QCD
from haarflow.theories.models.schwinger import Schwinger, schwinger_pairs
from haarflow.theories.samplers.sun import exact_sample
from haarflow.theories.samplers.u1 import exact_sample as exact_angles

LATTICE, COUPLINGS = (4, 4), {"beta": 1.0, "kappa": 0.15}
THEORY = QCD(LATTICE, n=2)
MODEL = loops_and_hops(LATTICE, THEORY.hops, 2, order=1, **COUPLINGS)


def test_density_is_that_of_the_inverse(backend):
    params = MODEL.init(random.key(0, backend))

    def both(key):
        pair, log_q = MODEL.sample(params, key, 3)
        return log_q, MODEL.log_density(params, pair)

    there, back = (backend.to_numpy(part) for part in backend.jit(both)(random.key(1, backend)))
    numpy.testing.assert_allclose(back, there, atol=1e-9)


def test_partition_function_with_two_flavours():
    """ln Z = ln Z_gauge + n ln pi + ln <det D D^+>, the mean over exact draws of pure gauge theory: 4 sigma, chance 6e-5."""
    host, n = backends.get("numpy"), math.prod(THEORY.spaces.phi.shape)
    key = random.key(2, host)
    drawn = draw(MODEL, MODEL.init(key), THEORY, key, 1024, COUPLINGS)
    by_pairs = jackknife(lambda log_w: log_z(log_w).value, drawn.log_w, blocks=16)
    links = exact_sample(THEORY.gauge, random.key(3, host), 1024, {"beta": COUPLINGS["beta"]})
    operator = THEORY.operator
    dense = (operator.matrix(operator.prepare(part), COUPLINGS["kappa"]) for part in numpy.split(links, 16))
    log_det = 2 * numpy.concatenate([numpy.linalg.slogdet(matrices)[1] for matrices in dense])
    mean = jackknife(lambda x: log_z(x).value, log_det, blocks=16)
    exact = sun_torus.log_z(2, COUPLINGS["beta"], 16) + n * math.log(math.pi) + mean.value
    assert abs(by_pairs.value - exact) < 4 * math.hypot(by_pairs.error, mean.error)


def test_partition_function_of_the_schwinger_model():
    """The same for U(1): pairs of the autoregressive flow beside exact draws of pure gauge theory; 4 sigma, chance 6e-5."""
    host, couplings = backends.get("numpy"), {"beta": 2.0, "kappa": 0.2}
    theory, key = schwinger_pairs(LATTICE), random.key(5, host)
    model = autoregressive_and_hops(LATTICE, theory.hops, channels=2, hidden=2, kernel=1, **couplings)
    drawn = draw(model, model.init(key), theory, key, 1024, couplings)
    by_pairs = jackknife(lambda log_w: log_z(log_w).value, drawn.log_w, blocks=16)
    alone = Schwinger(LATTICE)
    links = exact_angles(alone.gauge, random.key(6, host), 4096, {"beta": 2.0}).field
    mean = jackknife(lambda x: log_z(x).value, -alone.fermions.action(links, {"kappa": 0.2}), blocks=16)
    exact = u1_torus.log_z(2.0, 16) + math.prod(theory.spaces.phi.shape) * math.log(math.pi) + mean.value
    assert abs(by_pairs.value - exact) < 4 * math.hypot(by_pairs.error, mean.error)


def test_metropolis_of_pairs_keeps_the_exact_mean():
    """The mean of the pseudofermion action is n; 4 sigma of the Gamma method, chance 6e-5."""
    host = backends.get("numpy")
    kernel = IndependenceMetropolis(
        MODEL, THEORY, values={"params": MODEL.init(random.key(0, host)), "couplings": COUPLINGS}
    )
    start, _ = MODEL.sample(kernel.values["params"], random.key(4, host), 16)

    def measure(field):
        return THEORY.observables(field, COUPLINGS)["pseudofermion"]

    _, records = run(kernel, random.key(5, host), kernel.init(start), 50, measure=measure)
    found = gamma_method(records["observables"].T)
    assert abs(found.value - THEORY.exact()["pseudofermion"]) < 4 * found.error


def test_leading_term_of_two_flavours_is_a_shift_of_beta():
    """2 ln det D = 1/2 kappa^4 tr H^4 ... of a plaquette alone: what `effective_beta` adds multiplies Re tr U_P / n."""
    operator, kappa = QCD((6, 6), n=3).operator, 0.1
    cold = numpy.zeros((2, 3, 3, 6, 6)) + numpy.eye(3)[:, :, None, None] + 0j
    flavours = -2 * kappa**4 * traces(operator, cold, 2)[1] / 2  # ln det Dhat = -tr Y - tr Y^2/2 - ...
    shift = effective_beta(0.0, kappa, 3, 2)
    assert abs(shift * 36 - flavours) < 1e-12


def test_plaquettes_and_lines_are_what_two_flavours_make_of_the_action():
    """2 ln det D = -2 tr Y^2/2 to this order: all of it, on any links of a lattice with lines along one axis alone."""
    operator, kappa, lattice = QCD((4, 6), n=3).operator, 0.1, (4, 6)
    links = operator.group.haar(random.key(1, backends.get("numpy")), (2, *operator.field_shape))
    flavours = -(kappa**4) * traces(operator, links, 2)[..., 1]
    shift = effective_beta(0.0, kappa, 3, 2)
    plaquettes = (
        shift / 3 * numpy.sum(loops.plaquettes(links, 2, operator.group).trace(axis1=2, axis2=3).real, (1, 2, 3))
    )
    total = plaquettes
    for axis, strength in enumerate(effective_lines(kappa, lattice)):
        line = loops.polyakov(links, axis, lattice, operator.group).trace(axis1=-4, axis2=-3).real
        total = total + strength * numpy.sum(line, axis=(-2, -1)) / lattice[axis]  # one line from each of its sites
    assert numpy.allclose(total, flavours, rtol=1e-12)


def test_model_file_holds_the_operator(tmp_path):
    host = backends.get("numpy")
    params = MODEL.init(random.key(0, host))
    save_model(tmp_path / "pairs.safetensors", MODEL, params)
    opened = open_model(tmp_path / "pairs.safetensors", lattice=LATTICE)
    assert opened.model == MODEL
    with pytest.raises(ModelFileError, match=r"for the lattice \(4, 4\) alone"):
        open_model(tmp_path / "pairs.safetensors", lattice=(6, 6))


def test_a_solve_that_is_too_short_is_retried_and_else_no_number():
    host = backends.get("numpy")
    pair, _ = MODEL.sample(MODEL.init(random.key(0, host)), random.key(1, host), 2)
    retried, exact = (QCD(LATTICE, n=2, max_steps=steps).action(pair, COUPLINGS) for steps in (2, 1000))
    numpy.testing.assert_allclose(retried, exact, rtol=1e-9)
    # at U = 1 periodic fermions of kappa = 1/4 have a zero mode: no solve converges
    singular = QCD(LATTICE, n=2, antiperiodic=False)
    cold = numpy.zeros_like(pair.U) + numpy.eye(2)[:, :, None, None]
    action, solves = singular.pseudofermion(Pair(cold, pair.phi), 0.25)
    assert numpy.isnan(action).all()
    assert not solves.converged.any()


def test_gradient_of_the_loss_is_that_of_draws_by_differences():
    """Reverse KL by reparameterisation on Torch, through a solve that nothing differentiates, for coefficient and net."""
    pytest.importorskip("torch")
    torch, host = backends.get("torch"), backends.get("numpy")
    model = loops_and_hops(LATTICE, THEORY.hops, 2, order=1, hop_order=1, hop_net=(2,), **COUPLINGS)

    def params_of(backend, shift=0.0):
        params = model.init(random.key(0, backend))
        conditional = params["conditional"]
        net = {name: value + 0.3 for name, value in conditional["net"].items()}
        moved = {"coefficients": conditional["coefficients"] + shift, "net": net | {"b1": net["b1"] + 2.0 * shift}}
        return params | {"conditional": moved}

    def loss(shift):
        pair, log_q = model.sample(params_of(host, shift), random.key(1, host), 2)
        return float(numpy.mean(THEORY.action(pair, COUPLINGS) + log_q))

    grads, _ = ReverseKL().gradient(model, THEORY.action, params_of(torch), random.key(1, torch), 2, COUPLINGS)
    found = grads["conditional"]["coefficients"].sum() + 2.0 * grads["conditional"]["net"]["b1"].sum()
    near, far = ((loss(h) - loss(-h)) / (2 * h) for h in (1e-3, 2e-3))
    assert abs(float(found) - (4 * near - far) / 3) < 1e-6 * abs(near)
