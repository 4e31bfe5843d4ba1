"""Flows that compose: chains, scanned repeats, translations, models; nets with conditions and tied kernels."""

import itertools

import numpy
import pytest

from haarflow.backends.tree import tree_map
from haarflow.core import random
from haarflow.core.groups.additive import U1, Real, wrap
from haarflow.core.lattice.geometry import check_divisible, check_lattice, shift
from haarflow.core.laws.law import at_once
from haarflow.flows.flow import Chain, Repeat, Translate
from haarflow.flows.nets import ACTIVATIONS, ConvNet


class Scale:
    """y = e^s x per component, the simplest flow with parameters."""

    def init(self, key, dtype="float64"):
        return {"s": random.normal(key, (), dtype)}

    def forward(self, params, x, condition=None):
        from array_api_compat import array_namespace

        xp = array_namespace(x)
        return x * xp.exp(params["s"]), 3.0 * params["s"] + xp.zeros_like(x[..., 0])

    def inverse(self, params, y, condition=None):
        y, log_det = self.forward({"s": -params["s"]}, y)
        return y, log_det


def test_a_scanned_repeat_is_the_chain_of_its_layers(backend):
    key = random.key(2, backend)
    repeat, x = Repeat(Scale(), 4), random.normal(key, (2, 3))
    params = repeat.init(key)
    chain = Chain((Scale(),) * 4)
    each = {str(n): tree_map(lambda p, n=n: p[n, ...], params) for n in range(4)}
    y, log_det = repeat.forward(params, x)
    z, same = chain.forward(each, x)
    assert numpy.allclose(backend.to_numpy(y), backend.to_numpy(z), rtol=1e-14)
    assert numpy.allclose(backend.to_numpy(log_det), backend.to_numpy(same), rtol=1e-14)
    back, inverse_log_det = repeat.inverse(params, y)
    assert numpy.allclose(backend.to_numpy(back), backend.to_numpy(x), rtol=1e-13)
    assert numpy.allclose(backend.to_numpy(inverse_log_det), -backend.to_numpy(log_det), rtol=1e-13)


def test_translations_and_their_repetitions_tell_how_far_they_move_the_field():
    step = Translate((1, -2))
    assert step.periods == Repeat(step, 3).periods == (1, 1)
    assert step.displacement == (1, -2) and Repeat(step, 3).displacement == (3, -6)


def test_recomputing_changes_no_number(autodiff_backend):
    backend = autodiff_backend
    key = random.key(2, backend)
    plain, frugal = Repeat(Scale(), 4), Repeat(Scale(), 4, recompute=True)
    params, x = plain.init(key), random.normal(key, (2, 3))

    def loss(flow):
        def value(params, x):
            y, log_det = flow.forward(params, x)
            return (y * y).sum() - log_det.sum()

        return backend.value_and_grad(value)(params, x)

    (value, grad), (same, again) = loss(plain), loss(frugal)
    assert float(value) == pytest.approx(float(same), rel=1e-14)
    assert numpy.allclose(backend.to_numpy(grad["s"]), backend.to_numpy(again["s"]), rtol=1e-14)


def test_translations_move_whole_fields(backend, generator):
    x = generator.normal(size=(2, 2, 3, 4))
    flow = Translate((1, -2), internal=1)
    y, log_det = flow.forward({}, backend.asarray(x))
    assert numpy.array_equal(backend.to_numpy(y), numpy.roll(x, (1, -2), axis=(-2, -1)))
    assert backend.to_numpy(log_det).tolist() == [0.0, 0.0]
    assert numpy.array_equal(backend.to_numpy(flow.inverse({}, y)[0]), x)


def test_an_empty_chain_is_refused():
    with pytest.raises(ValueError, match="at least one flow"):
        Chain(()).forward({}, numpy.zeros(2))


@pytest.mark.parametrize(("d", "extent", "lattice"), [(2, 3, (4, 4)), (2, 5, (5, 5)), (3, 3, (3, 3, 3))])
def test_tied_nets_commute_with_the_hypercubic_group(backend, host, generator, d, extent, lattice):
    net = ConvNet(d, (2, 3, 2), kernel=extent, activation="silu", tied=True)
    params = tree_map(backend.asarray, net.init(random.key(5, host)))
    x = generator.normal(size=(1, 2, *lattice))
    y = backend.to_numpy(at_once(net.apply, params, backend.asarray(x)))
    axes = list(itertools.permutations(range(d)))[-1]
    for transform in (
        lambda a: numpy.flip(a, axis=-1),
        lambda a: numpy.transpose(a, (0, 1, *[2 + axis for axis in axes])),
    ):
        moved = backend.to_numpy(at_once(net.apply, params, backend.asarray(numpy.ascontiguousarray(transform(x)))))
        assert numpy.allclose(moved, transform(y), rtol=0, atol=1e-13)


def test_untied_nets_do_not_commute_so_the_law_above_can_fail(host, generator):
    net = ConvNet(2, (2, 2))
    params = net.init(random.key(5, host))
    x = generator.normal(size=(1, 2, 4, 4))
    assert not numpy.allclose(net.apply(params, x[..., ::-1]), net.apply(params, x)[..., ::-1], atol=1e-3)


def test_conditions_enter_as_constant_features(backend, host):
    net = ConvNet(2, (1, 4, 2), condition=("beta",))
    params = tree_map(backend.asarray, net.init(random.key(5, host)))
    x = backend.asarray(random.normal(random.key(6, host), (3, 1, 4, 4)))
    batched = at_once(net.apply, params, x, {"beta": backend.asarray([1.0, 2.0, 3.0])})
    for chain in range(3):
        alone = at_once(net.apply, params, x[chain, ...], {"beta": 1.0 + chain})
        assert numpy.allclose(backend.to_numpy(batched)[chain], backend.to_numpy(alone), atol=1e-14)
    with pytest.raises(ValueError, match="conditioned on 'beta'"):
        net.apply(params, x)


def test_unbiased_nets_of_odd_activations_are_odd(backend):
    net = ConvNet(2, (1, 4, 2), activation="tanh", biased=False)
    params = net.init(random.key(5, backend))
    x = random.normal(random.key(6, backend), (3, 1, 4, 4))
    there, turned = (backend.to_numpy(backend.jit(net.apply)(params, sign * x)) for sign in (1.0, -1.0))
    assert numpy.allclose(turned, -there, atol=1e-15)


def test_activations(backend):
    x = backend.asarray([-2.0, 0.0, 3.0])
    assert numpy.allclose(backend.to_numpy(ACTIVATIONS["leaky_relu"](x)), [-0.02, 0.0, 3.0])
    expected = numpy.asarray([-2.0, 0.0, 3.0]) / (1 + numpy.exp([2.0, 0.0, -3.0]))
    assert numpy.allclose(backend.to_numpy(ACTIVATIONS["silu"](x)), expected, atol=1e-15)


def test_groups(backend, generator):
    angles, more = generator.uniform(-9, 9, size=(2, 50))
    a, b, group = backend.asarray(angles), backend.asarray(more), U1()
    phase = numpy.exp(1j * backend.to_numpy(group.compose(a, b)))
    assert numpy.allclose(phase, numpy.exp(1j * angles) * numpy.exp(1j * more), atol=1e-14)
    assert numpy.allclose(backend.to_numpy(group.compose(a, group.inverse(a))), 0.0, atol=1e-14)
    wrapped = backend.to_numpy(wrap(a))
    assert (wrapped >= -numpy.pi).all() and (wrapped < numpy.pi).all()
    assert numpy.allclose(backend.to_numpy(group.log(group.exp(a))), wrapped)
    assert numpy.array_equal(backend.to_numpy(group.update(a, b)), angles + more)
    assert numpy.array_equal(backend.to_numpy(Real().compose(a, b)), angles + more)
    with pytest.raises(ValueError, match="no normalised Haar measure"):
        Real().haar(random.key(0, backend), (2,))


def test_haar_draws_have_no_fourier_mode(host):
    """10^5 angles: |<e^{in theta}>| < 4.3/sqrt(n), chance of luck 1e-8 each, seed fixed; invariant under any shift."""
    theta = U1().haar(random.key(1, host), (10**5,))
    for n in (1, 2, 3):
        assert abs(numpy.exp(1j * n * theta).mean()) < 4.3 / numpy.sqrt(1e5)


def test_lattice_checks():
    assert check_lattice([4, 1]) == (4, 1)
    for wrong in ((), (0, 4), (2.5, 2), 8):
        with pytest.raises(ValueError, match="tuple of"):
            check_lattice(wrong)
    with pytest.raises(ValueError, match=r"period 4 along axis 1 .* extent 6"):
        check_divisible((8, 6), 1, 4)


def test_shift_reads_the_neighbour(backend):
    x = backend.asarray(numpy.arange(6.0).reshape(2, 3))
    assert backend.to_numpy(shift(x, 1, 2)).tolist() == [[1.0, 2.0, 0.0], [4.0, 5.0, 3.0]]
    assert backend.to_numpy(shift(x, 0, 2, -1)).tolist() == [[3.0, 4.0, 5.0], [0.0, 1.0, 2.0]]
