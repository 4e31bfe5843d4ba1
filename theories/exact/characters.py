"""Character coefficients of SU(N), any N >= 2: c_r = int dU chi_r(U) e^{(beta/N) Re tr U}, normalised Haar measure.

    c_lambda = sum_{l in Z} det_ij I_{lambda_j - j + i + l}(beta/N),    lambda_1 >= ... >= lambda_N = 0 the rows of r

(the Fourier coefficients of a class function of U(N), summed over powers of the determinant). Every term is >= 0, but a
determinant of nearly equal entries loses x^(-N(N-1)/2) of its size, x = beta/N: so the Bessel functions and the
determinants are whole numbers of a few hundred digits, and only the ratios c_lambda/I_0^N are rounded. They are good to
all digits of a float at any beta.

Source: Balian, Drouffe, Itzykson, Phys. Rev. D 11 (1975) 2104; Bars, Green, Phys. Rev. D 20 (1979) 3311.
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache

import numpy as np

from haarflow.theories.exact import bessel

Rows = tuple[int, ...]


def coefficient(rows: Rows, beta: float) -> float:
    """Return c_r / I_0(beta/N)^N of the representation with these N rows, the last of them 0.

    Raises ValueError for rows that rise or do not end in 0, and unless beta >= 0 and finite.

    >>> round(coefficient((1, 0, 0), 6.0) / coefficient((0, 0, 0), 6.0) / 3, 12)
    0.42253173965
    """
    if len(rows) < 2 or rows[-1] != 0 or any(a < b for a, b in itertools.pairwise(rows)):
        raise ValueError(f"a representation of SU(N) has N falling rows, N >= 2, the last of them 0, got {rows}")
    if beta == 0:
        return float(not any(rows))
    conjugate = tuple(rows[0] - row for row in reversed(rows))
    return _coefficient(max(tuple(rows), conjugate), float(beta))


def log_scale(n: int, beta: float) -> float:
    """Return ln I_0(beta/N)^N, the scale of `coefficient`.

    >>> log_scale(3, 0.0)
    0.0
    """
    return n * bessel.log_i0(beta / n)


@lru_cache(maxsize=2**18)
def dimension(rows: Rows) -> int:
    """Return the dimension of a representation, prod_{i<j} (lambda_i - lambda_j + j - i)/(j - i).

    >>> dimension((2, 1, 0)), dimension((1, 1, 0, 0))
    (8, 6)
    """
    pairs = list(itertools.combinations(range(len(rows)), 2))
    above = math.prod(rows[i] - rows[j] + j - i for i, j in pairs)
    return above // math.prod(j - i for i, j in pairs)


def shell(n: int, width: int) -> list[Rows]:
    """Return all representations whose first row is `width` long.

    >>> shell(3, 2)
    [(2, 0, 0), (2, 1, 0), (2, 2, 0)]
    """
    if width == 0:
        return [(0,) * n]
    inner = itertools.combinations_with_replacement(range(width + 1), n - 2)
    return [(width, *reversed(rows), 0) for rows in inner]


def lowered(rows: Rows) -> list[Rows]:
    """Return the representations of r x conjugate fundamental: one box less, rows counted from the last.

    >>> lowered((1, 0, 0)), lowered((0, 0))
    ([(0, 0, 0), (2, 1, 0)], [(1, 0)])
    """
    fewer = [(*rows[:j], rows[j] - 1, *rows[j + 1 :]) for j in range(len(rows))]
    return [tuple(row - new[-1] for row in new) for new in fewer if all(a >= b for a, b in itertools.pairwise(new))]


@lru_cache(maxsize=2**18)
def _coefficient(rows: Rows, beta: float) -> float:
    n, x = len(rows), beta / len(rows)
    table, reach = _bessel(x, n)
    middle = round(sum(rows) / n)
    twists = np.arange(min(-middle - reach, -rows[0] - 1), max(-middle + reach, 1) + 1)
    first = np.asarray(rows) - np.arange(n)
    order = np.abs(first[None, :] + np.arange(n)[:, None] + twists[:, None, None])
    entries = table[np.minimum(order, len(table) - 1)]
    # whole numbers of any size, whose quotient is rounded once
    quotient: float = int(np.sum(_determinant(entries))) / int(table[0]) ** n
    return quotient


@lru_cache(maxsize=64)
def _bessel(x: float, n: int) -> tuple[np.ndarray, int]:
    """I_0, I_1, ... times one large constant, as whole numbers, 0 at the end; and how far the sum over l has to go.

    Downwards I_{k-1} = I_{k+1} + (2k/x) I_k; the first value carries the guard bits, errors only shrink after it.
    """
    highest = 40 + int(15 * math.sqrt(x))
    guard = 128 + int(n * (n - 1) * math.log2(1 + x))
    above, below = (2 * x).as_integer_ratio()
    values = [0, 1 << guard]
    for k in range(highest, 0, -1):
        values.append(values[-2] + 4 * k * below * values[-1] // above)
    reach = n + int(np.sum(n * np.log(np.maximum(bessel.ratios(x), 1e-300)) > -50.0))
    return np.asarray([*values[:0:-1], 0], dtype=object), reach


def _determinant(entries: np.ndarray) -> np.ndarray:
    """Determinants of `(terms, N, N)` whole numbers, by minors of the first rows and every choice of columns."""
    n = entries.shape[-1]
    minors: dict[tuple[int, ...], np.ndarray] = {(): np.ones(len(entries), dtype=object)}
    for row in range(n):
        minors = {
            columns: sum(
                (-1) ** (row + place) * entries[:, row, column] * minors[columns[:place] + columns[place + 1 :]]
                for place, column in enumerate(columns)
            )
            for columns in itertools.combinations(range(n), row + 1)
        }
    return minors[tuple(range(n))]
