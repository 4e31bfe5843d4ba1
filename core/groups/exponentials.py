"""exp(iH) of small Hermitian matrices H = w_a T_a without eigenvalues: all derivatives are finite, also at degeneracies.

N = 2: exp(iH) = cos(r) + i sin(r)/r H with r = |w|/2, by series in r^2 near zero.
N = 3: Cayley-Hamilton, H^3 = p H + q with p = tr H^2 / 2 and q = det H, so exp(iH) = f0 + f1 H + f2 H^2 with complex
coefficients that are entire functions of p and q: the power series of H / 2^s, then s squarings of the coefficients
(compare Morningstar and Peardon, hep-lat/0311018, whose closed form divides by differences of eigenvalues).
N > 3: Taylor's series of the matrix H / 2^s and s squarings.

Beyond |w| = BOUND the series are not accurate and the result is NaN, never a wrong finite matrix; N = 2 has no bound.
Every function takes the coordinates w `(*batch, N^2-1, *lattice)` or H, with `d` lattice axes last.
"""

from __future__ import annotations

import math

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.types import Array
from haarflow.core.broadcasting import of_type
from haarflow.core.groups import matrices
from haarflow.core.groups.matrices import complex_array

Pair = tuple[Array, Array]  # real and imaginary part

BOUND = 24.0
DOUBLINGS = 3
SCALE = 0.5**DOUBLINGS
TERMS = 24
DEGREE, BLOCK, SQUARINGS = 20, 5, 5


def exponential(h: Array, size2: Array, d: int) -> Array:
    """Return exp(iH) of Hermitian traceless H `(*batch, N, N, *lattice)`, given size2 = w_a w_a = 2 tr H^2.

    >>> import numpy as np
    >>> exponential(np.asarray([[0.5, 0], [0, -0.5]]) * 2 * np.pi + 0j, np.asarray(4 * np.pi**2), 0).real.round(12) + 0.0
    array([[-1.,  0.],
           [ 0., -1.]])
    """
    h, n = backends.of(h).materialise(h), h.shape[h.ndim - d - 2]
    if n == 2:
        return _two(h, size2, d)
    return (_three if n == 3 else _series)(h, trusted(size2), d)


def trusted(size2: Array) -> Array:
    """Return w_a w_a where it is at most BOUND^2, and NaN beyond."""
    xp = array_namespace(size2)
    return xp.where(size2 <= BOUND**2, size2, xp.full_like(size2, math.nan))


def _two(h: Array, size2: Array, d: int) -> Array:
    cosine, sinc = (of_type(x, h) for x in cos_sinc(0.25 * size2))
    rows = matrices.entries(h, d)
    parts = [[1j * (sinc * rows[i][j]) + (cosine if i == j else 0.0) for j in range(2)] for i in range(2)]
    return matrices.assemble(parts, d)


def cos_sinc(x: Array) -> tuple[Array, Array]:
    """Return cos(sqrt x) and sin(sqrt x)/sqrt x for x >= 0, with all derivatives at 0: both are entire in x.

    >>> import numpy as np
    >>> [float(y) for y in cos_sinc(np.asarray(0.0))]
    [1.0, 1.0]
    """
    xp, backend = array_namespace(x), backends.of(x)
    small = x < 1.0
    near = xp.where(small, x, xp.zeros_like(x))
    root = xp.sqrt(xp.where(small, xp.ones_like(x), x))
    sine, cosine = backend.sincos(root)
    even = _alternating(near, [1.0 / math.factorial(2 * n) for n in range(12)])
    odd = _alternating(near, [1.0 / math.factorial(2 * n + 1) for n in range(12)])
    return xp.where(small, even, cosine), xp.where(small, odd, sine / root)


def _alternating(x: Array, coefficients: list[float]) -> Array:
    """Sum (-1)^k c_k x^k by Horner's rule."""
    total = 0.0 * x + coefficients[-1]
    for c in reversed(coefficients[:-1]):
        total = c - total * x
    return total


def _three(h: Array, size2: Array, d: int) -> Array:
    x = backends.of(h).materialise(SCALE * h)
    f0, f1, f2 = _coefficients(x, size2, d)
    square = matrices.matmul(x, x, d)
    return backends.of(h).materialise(f0 * matrices.identity(h, d) + f1 * x + f2 * square)


def _coefficients(x: Array, size2: Array, d: int) -> list[Array]:
    """f0, f1, f2 of exp(iH) = f0 + f1 x + f2 x^2 with x = SCALE H, shaped to multiply matrices."""
    keep = backends.of(x).materialise
    p, q = keep((0.25 * SCALE**2) * size2), keep(_determinant_of_hermitian(matrices.entries(x, d)))
    return [keep(f)[(..., None, None) + (slice(None),) * d] for f in cayley_hamilton(p, q, TERMS, DOUBLINGS)]


def _determinant_of_hermitian(h: list[list[Array]]) -> Array:
    xp = array_namespace(h[0][0])
    a, b, c = (xp.real(h[i][i]) for i in range(3))
    x, y, z = h[0][1], h[1][2], h[0][2]
    cycle = 2.0 * xp.real(x * y * xp.conj(z))
    return a * b * c + cycle - a * _abs2(y) - b * _abs2(z) - c * _abs2(x)


def _abs2(x: Array) -> Array:
    xp = array_namespace(x)
    return xp.real(x) ** 2 + xp.imag(x) ** 2


def cayley_hamilton(p: Array, q: Array, terms: int, doublings: int) -> tuple[Array, Array, Array]:
    """Return the complex f0, f1, f2 of exp(i 2^doublings X) = f0 + f1 X + f2 X^2 for X^3 = p X + q, p and q real.

    X^n = q t_(n-1) + t_(n+1) X + t_n X^2 with t_(n+1) = p t_(n-1) + q t_(n-2), t_0 = t_1 = 0, t_2 = 1; then squarings.

    >>> import numpy as np
    >>> f0, f1, f2 = cayley_hamilton(np.asarray(0.0), np.asarray(0.0), 20, 1)
    >>> complex(f0), complex(f1), complex(f2)
    ((1+0j), 2j, (-2+0j))
    """
    keep = backends.of(p).materialise
    f0, f1, f2 = ((keep(real), keep(imaginary)) for real, imaginary in _power_series(p, q, terms))
    for _ in range(doublings):
        f0, f1, f2 = _squared(p, q, f0, f1, f2)
    return complex_array(*f0), complex_array(*f1), complex_array(*f2)


def _power_series(p: Array, q: Array, terms: int) -> list[Pair]:
    """f0, f1, f2 of exp(iX) as real and imaginary parts."""
    t = _powers(p, q, terms)
    parts: list[tuple[list[Array], list[Array]]] = [([], []), ([], []), ([], [])]
    for n in range(terms, 0, -1):
        weight = (1.0 if n % 4 < 2 else -1.0) / math.factorial(n)
        for part, power in zip(parts, (t[n - 1], t[n + 1], t[n]), strict=True):
            part[n % 2].append(weight * power)
    (even0, odd0), *rest = [(sum(even), sum(odd)) for even, odd in parts]
    return [(1.0 + q * even0, q * odd0), *rest]


def _squared(p: Array, q: Array, f0: Pair, f1: Pair, f2: Pair) -> tuple[Pair, Pair, Pair]:
    """The coefficients of (f0 + f1 X + f2 X^2)^2, in real and imaginary parts, which vectorise better than complex numbers."""
    mixed, top = _times(f1, f2), _times(f2, f2)
    inner = [x + p * y for x, y in zip(f0, f2, strict=True)]
    linear, square, outer = _times(f1, (inner[0], inner[1])), _times(f1, f1), _times(f0, f2)
    constant = _times(f0, f0)
    return (
        (constant[0] + 2.0 * q * mixed[0], constant[1] + 2.0 * q * mixed[1]),
        (2.0 * linear[0] + q * top[0], 2.0 * linear[1] + q * top[1]),
        (2.0 * outer[0] + square[0] + p * top[0], 2.0 * outer[1] + square[1] + p * top[1]),
    )


def _times(a: Pair, b: Pair) -> Pair:
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


def _powers(p: Array, q: Array, terms: int) -> list[Array]:
    """t_0 ... t_(terms+1) of `cayley_hamilton`."""
    xp = array_namespace(p)
    zero = xp.zeros_like(p)
    t = [zero, zero, xp.ones_like(p) + 0.0 * p]
    for n in range(2, terms + 1):
        t.append(p * t[n - 1] + q * t[n - 2])
    return t


def _series(h: Array, size2: Array, d: int) -> Array:
    """Taylor's polynomial of iH / 2^s in blocks (Paterson and Stockmeyer), squared s times."""
    xp = array_namespace(h)
    guard = matrices.complex_array(0.0 * size2, 0.0 * size2)  # NaN beyond the bound
    x = (1j * 0.5**SQUARINGS) * h + guard[(..., None, None) + (slice(None),) * d]
    powers = [matrices.identity(h, d), x]
    for _ in range(2, BLOCK + 1):
        powers.append(matrices.matmul(powers[-1], x, d))
    total = xp.zeros_like(x)
    for first in range(DEGREE - DEGREE % BLOCK, -1, -BLOCK):
        last = min(first + BLOCK, DEGREE + 1)
        block = sum(powers[n - first] / math.factorial(n) for n in range(first, last))
        total = block + (matrices.matmul(total, powers[BLOCK], d) if first + BLOCK <= DEGREE else 0.0 * x)
    for _ in range(SQUARINGS):
        total = matrices.matmul(total, total, d)
    return total
