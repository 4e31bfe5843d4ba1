"""Backends: one record each, the same numbers, and one clear sentence where something is missing."""

import math
import os
import pickle
import subprocess
import sys

import numpy
import pytest

from haarflow import backends
from haarflow.backends import tree


def test_conv_refuses_what_does_not_fit(backend):
    x, w = backend.asarray(numpy.zeros((2, 3, 4, 4))), backend.asarray(numpy.zeros((2, 2, 3, 3)))
    with pytest.raises(ValueError, match=r"conv wants x .* got x \(2, 3, 4, 4\) and w \(2, 2, 3, 3\)"):
        backend.conv(x, w)
    with pytest.raises(ValueError, match="odd extents"):
        backend.conv(x, backend.asarray(numpy.zeros((2, 3, 2, 3))))


NETS = [
    ((2,), (5,), ((3,), (1,))),
    ((3,), (6,), ((1,), (1,))),
    ((), (4, 3), ((3, 5), (1, 3))),
    ((2, 2), (2, 2), ((5, 5), (3, 3))),
    ((2,), (3, 2, 4), ((3, 3, 1), (1, 3, 3))),
    ((1,), (2,) * 4, ((3,) * 4, (1,) * 4)),
    ((0,), (4, 4), ((3, 3), (3, 3))),
    ((2,), (3, 36), ((3, 3), (3, 1))),
]


def net_inputs(generator, batch, lattice, kernels):
    """Features of 2 channels, kernels to 3 and back to 2, a bias on the second layer alone."""
    weights = [generator.normal(size=(o, c, *kernel)) for o, c, kernel in zip((3, 2), (2, 3), kernels, strict=True)]
    return generator.normal(size=(*batch, 2, *lattice)), weights, generator.normal(size=2)


def cube(x):
    return x * x * x


@pytest.mark.parametrize(("batch", "lattice", "kernels"), NETS)
def test_conv_net_equals_its_layers_one_by_one(backend, host, generator, batch, lattice, kernels):
    x, weights, bias = net_inputs(generator, batch, lattice, kernels)
    expected = host.conv(cube(host.conv(x, weights[0])), weights[1]) + bias.reshape(-1, *(1,) * len(lattice))
    arrays = [backend.asarray(w) for w in weights]
    biases, activations = [None, backend.asarray(bias)], [cube, lambda y: y]
    found = backend.jit(lambda x: backend.conv_net(x, arrays, biases, activations))(backend.asarray(x))
    assert found.shape == expected.shape
    assert numpy.allclose(backend.to_numpy(found), expected, rtol=1e-13, atol=1e-11)


def test_conv_net_under_jit_vmap_and_gradient(autodiff_backend, host, generator):
    """The gradient through jit and vmap against a difference of the plain twin."""
    b, (x, weights, bias) = autodiff_backend, net_inputs(generator, (3,), (4, 6), ((3, 3), (3, 3)))

    def total(engine, x, first, mapped):
        arrays = [first, engine.asarray(weights[1])]
        net = lambda row: engine.conv_net(row, arrays, [None, engine.asarray(bias)], [cube, cube])  # noqa: E731
        return engine.xp.sum(engine.vmap(net)(x) if mapped else net(x))

    gradient = b.jit(b.value_and_grad(lambda w: total(b, b.asarray(x), w, True)))
    _, grad = gradient(b.asarray(weights[0]))
    step, direction = 1e-5, generator.normal(size=weights[0].shape)
    ahead, behind = (total(host, x, weights[0] + s * direction, False) for s in (step, -step))
    assert math.isclose(float((b.to_numpy(grad) * direction).sum()), (ahead - behind) / (2 * step), rel_tol=1e-6)


def test_conv_net_refuses_layers_that_do_not_fit(backend):
    x, w = backend.asarray(numpy.zeros((2, 3, 4, 4))), backend.asarray(numpy.zeros((2, 3, 3, 3)))
    identity = lambda y: y  # noqa: E731
    with pytest.raises(ValueError, match=r"layer 1 of a net gets 2 channels .* got \(2, 3, 3, 3\)"):
        backend.conv_net(x, [w, w], [None, None], [identity, identity])
    with pytest.raises(ValueError, match="odd extents"):
        backend.conv_net(x, [backend.asarray(numpy.zeros((2, 3, 3, 2)))], [None], [identity])
    with pytest.raises(ValueError, match=r"shorter|longer"):
        backend.conv_net(x, [w], [None], [identity, identity])


@pytest.mark.parametrize("name", ["numpy", "strict"])
def test_no_autodiff_says_so(request, name):
    from tests.conftest import member

    backend = member(name)
    for verb in (backend.value_and_grad, backend.jacobian):
        with pytest.raises(backends.NoAutodiff, match="choose jax or torch"):
            verb(lambda x: x)


def test_a_record_pickles(backend):
    if backend.name == "standard" or backend.asarray is not backends.get(backend.name).asarray:
        pytest.skip("test members without an adapter of their own are not sent to workers")
    again = pickle.loads(pickle.dumps(backend))
    assert (again.name, again.device, again.dtype) == (backend.name, backend.device, backend.dtype)


def test_of_reads_the_backend_off_an_array(backend):
    x = backend.asarray([1.0])
    assert backends.of({"x": x, "beta": 2.0}).name == backend.name
    with pytest.raises(backends.MixedBackends, match="got no array"):
        backends.of({"beta": 2.0})


def test_of_reads_the_backend_off_a_tracer(autodiff_backend):
    seen = []
    autodiff_backend.jit(lambda x: (seen.append(backends.of(x).name), x)[1])(autodiff_backend.asarray([1.0]))
    assert seen == [autodiff_backend.name]


def test_mixed_backends_are_named(autodiff_backend, host):
    with pytest.raises(backends.MixedBackends, match="and"):
        backends.of(autodiff_backend.asarray([1.0]), host.asarray([1.0]))


def test_unknown_names_devices_and_types_are_refused():
    with pytest.raises(ValueError, match="a backend is one of numpy, cupy, jax, torch, got 'nunpy'"):
        backends.get("nunpy")
    with pytest.raises(ValueError, match="float16"):
        backends.get("numpy", dtype="float16")
    with pytest.raises(backends.MissingBackend, match="'cpu' only"):
        backends.get("numpy", device="cuda")


@pytest.mark.parametrize("name", ["jax", "torch"])
def test_a_missing_gpu_is_one_sentence(name):
    backend = pytest.importorskip(name)
    present = backend.cuda.is_available() if name == "torch" else any(d.platform == "gpu" for d in backend.devices())
    if present:
        pytest.skip("a GPU is here")
    with pytest.raises(backends.MissingBackend) as caught:
        backends.get(name, device="cuda")
    assert "\n" not in str(caught.value)


def run_python(code):
    """What a program prints that leaves JAX in its 32-bit mode; the tests' own processes do not."""
    environment = {name: value for name, value in os.environ.items() if name != "JAX_ENABLE_X64"}
    words = {"capture_output": True, "text": True, "timeout": 120}
    return subprocess.run([sys.executable, "-c", code], env=environment, **words)


def test_float64_of_jax_without_its_64_bit_mode_is_refused_with_the_remedy():
    done = run_python("from haarflow import backends; backends.get('jax', dtype='float64')")
    assert done.returncode != 0 and "jax.config.update('jax_enable_x64', True)" in done.stderr.splitlines()[-1]
    done = run_python("from haarflow.backends import jax; jax.asarray([1.0])")
    assert done.returncode != 0 and "dtype='float32'" in done.stderr.splitlines()[-1]
    done = run_python("from haarflow import backends; print(backends.get('jax', dtype='float32').asarray([1.0]).dtype)")
    assert done.stdout.strip() == "float32"


def test_import_pulls_in_no_engine():
    heavy = "('jax', 'torch', 'cupy', 'matplotlib', 'pydantic')"
    code = f"import sys, haarflow; print([m for m in {heavy} if m in sys.modules])"
    assert run_python(code).stdout.strip() == "[]"


def test_trees_come_apart_and_together():
    leaves, rebuild = tree.flatten({"b": (1, [2, None]), "a": {"x": 3}})
    assert leaves == [3, 1, 2]
    assert rebuild([30, 10, 20]) == {"a": {"x": 30}, "b": (10, [20, None])}
    with pytest.raises(ValueError, match="3 leaves, got 2"):
        rebuild([1, 2])


@pytest.mark.parametrize("a", [0.5, numpy.asarray([[2.0], [3.0]])], ids=["number", "array"])
def test_axpy_and_roll_are_the_standard_ones(backend, a):
    x, y = numpy.arange(8.0).reshape(2, 4), numpy.ones((2, 4))
    a = a if isinstance(a, float) else backend.asarray(a)
    found = backend.axpy(a, backend.asarray(x), backend.asarray(y))
    assert numpy.array_equal(
        backend.to_numpy(found), numpy.asarray(backend.to_numpy(a) if hasattr(a, "ndim") else a) * x + 1
    )
    assert numpy.array_equal(backend.to_numpy(backend.roll(backend.asarray(x), -1, -2)), numpy.roll(x, -1, -2))


def test_unstack_gives_the_entries_of_an_axis(backend):
    x = numpy.arange(24.0).reshape(2, 3, 4)
    for axis in (0, 1, -1):
        found = backend.unstack(backend.asarray(x), axis)
        assert len(found) == x.shape[axis]
        assert all(numpy.array_equal(backend.to_numpy(row), numpy.take(x, n, axis)) for n, row in enumerate(found))


def cubes(x, m):
    """sum_a x_a^3 + sum_ab m_ab, x `(2, 3, 4)` and m `(2, 2, 2, 4)` of two one-dimensional lattices."""
    return (x * x * x).sum(axis=1) + m.sum(axis=(1, 2))


def other_slopes(x, m):
    """Not those of `cubes`, to see whose they are."""
    return cubes(x, m), (6.0 * x * x, 2.0 * m)


def fields(generator, backend):
    return tuple(backend.asarray(generator.standard_normal(shape)) for shape in ((2, 3, 4), (2, 2, 2, 4)))


def test_with_slopes_is_the_function_itself(backend, generator):
    x, m = fields(generator, backend)
    xp = backend.xp
    plain = lambda x, m: xp.sum(x * x * x, axis=1) + xp.sum(m, axis=(1, 2))  # noqa: E731
    found = backend.jit(backend.with_slopes(plain, None, 1))(x, m) if not backend.autodiff else None
    known = backend.with_slopes(plain, lambda *args: (plain(*args), args), 1)
    expected = cubes(backend.to_numpy(x), backend.to_numpy(m))
    for y in (backend.jit(known)(x, m), known(x, m), *([] if found is None else [found])):
        assert numpy.abs(backend.to_numpy(y) - expected).max() < 1e-13


def test_with_slopes_differentiates_by_them(autodiff_backend, generator):
    """Backwards, forwards, in a dense Jacobian, under jit and vmap, and once more."""
    b, xp = autodiff_backend, autodiff_backend.xp
    x, m = fields(generator, b)
    known = b.with_slopes(cubes, other_slopes, 1)
    gradient = b.value_and_grad(lambda both: xp.sum(known(*both)))
    for differentiate in (gradient, b.jit(gradient)):
        value, (by_x, by_m) = differentiate((x, m))
        assert math.isclose(float(value), float(xp.sum(cubes(x, m))), rel_tol=1e-13)
        assert float(xp.abs(by_x - 6.0 * x * x).max()) < 1e-13 and float(xp.abs(by_m - 2.0 * m).max()) < 1e-13
    y, dy = b.jvp(lambda x: known(x, m), x, m[:, 0, :1, :] + 0.0 * x)
    assert float(xp.abs(y - cubes(x, m)).max()) < 1e-13
    assert float(xp.abs(dy - (6.0 * x * x * m[:, 0, :1, :]).sum(axis=1)).max()) < 1e-13
    dense = b.jacobian(lambda x: known(x, m))(x)
    assert dense.shape == (2, 4, 2, 3, 4)
    assert float(xp.abs(dense[1, 2, 1, :, 2] - 6.0 * x[1, :, 2] ** 2).max()) < 1e-13
    mapped = b.vmap(b.with_slopes(lambda x: cubes(x[None, ...], 0.0 * m[:1])[0], None, 1))(x)
    assert float(xp.abs(mapped - cubes(x, 0.0 * m)).max()) < 1e-13
    _, twice = b.jvp(lambda x: b.vjp(lambda x: known(x, m), x)[1](xp.ones_like(y)), x, xp.ones_like(x))
    assert float(xp.abs(twice - 12.0 * x).max()) < 1e-13


def test_with_slopes_has_numbers_without_a_derivative_beside(autodiff_backend):
    b, xp = autodiff_backend, autodiff_backend.xp
    x = b.asarray([[1.0, -2.0], [0.5, 3.0]])
    value = lambda x: (xp.sum(x * x, axis=1), xp.sum(x, axis=1))  # noqa: E731
    known = b.with_slopes(value, lambda x: (value(x), (3.0 * x,)), 0, has_aux=True)
    assert [b.to_numpy(part).tolist() for part in known(x)] == [[5.0, 9.25], [-1.0, 3.5]]
    loss = lambda x: xp.sum(known(x)[0] * known(x)[1])  # noqa: E731
    for differentiate in (b.value_and_grad(loss), b.jit(b.value_and_grad(loss))):
        assert b.to_numpy(differentiate(x)[1]).tolist() == [[-3.0, 6.0], [5.25, 31.5]]
    _, dy = b.jvp(lambda x: known(x)[0], x, xp.ones_like(x))
    assert b.to_numpy(dy).tolist() == [-3.0, 10.5]


def test_threads_are_chosen_before_an_array_library_is_loaded():
    """The variables of the environment count when a library is loaded: choosing threads must load none."""
    code = (
        "import sys, os\n"
        "from haarflow.backends.threads import use_threads\n"
        "use_threads(1)\n"
        "print(os.environ['OMP_NUM_THREADS'], [name for name in ('numpy', 'jax', 'torch') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said == "1 []\n"


@pytest.mark.parametrize("batch", [(), (3,), (2, 0), (2, 3)])
def test_factorisations_of_a_batch_are_those_of_its_matrices(backend, generator, batch):
    matrices = generator.normal(size=(*batch, 3, 3)) + 4.0 * numpy.eye(3)
    linalg = backend.xp.linalg
    sign, log_abs = backend.by_matrix(linalg.slogdet, backend.asarray(matrices))
    inverse = backend.by_matrix(linalg.inv, backend.asarray(matrices))
    wanted = numpy.linalg.slogdet(matrices)
    assert numpy.allclose(backend.to_numpy(log_abs), wanted[1]) and numpy.array_equal(backend.to_numpy(sign), wanted[0])
    assert numpy.allclose(backend.to_numpy(inverse), numpy.linalg.inv(matrices)) and inverse.shape == matrices.shape
