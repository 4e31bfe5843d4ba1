"""Laws at a theory's border: couplings as arrays, one compilation for all their values, errors, inputs, backends.

They concern those of the methods `action`, `force`, `density` and `observables` that the theory offers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy

from haarflow import backends
from haarflow.backends.tree import leaves
from haarflow.backends.types import Array, Couplings, Tree
from haarflow.core.laws.law import Verdict, judge, precision_of, to_host
from haarflow.core.parts import described
from haarflow.theories.laws.cases import METHODS, ROUNDING, FullTheory, bound, nearby, runs_here, worst
from haarflow.theories.theory import field_shape

REASON = f"1 in units of {ROUNDING}"


def couplings_by_row(theory: FullTheory, field: Array, couplings: dict[str, float]) -> Verdict:
    """f(x, c)_i = f(x_i, c_i) for couplings c with one value per row of the batch, in action, force, density and observables.

    Row i has c_i = (1 + i/4) c + i/10.

    >>> import numpy as np
    >>> from haarflow.theories import U1Gauge
    >>> couplings_by_row(U1Gauge((2, 2)), np.ones((3, 2, 2, 2)), {"beta": 2.0}).passed
    True
    """
    count, backend = field.shape[0], backends.of(field)
    rows = [{name: (1 + i / 4) * value + i / 10 for name, value in couplings.items()} for i in range(count)]
    arrays = {name: backend.asarray([row[name] for row in rows], dtype=precision_of(field)) for name in couplings}

    def by_row(call: Callable[..., Any], x: Array) -> dict[str, Any]:
        parts = [_named(call(x, values)) for values in rows]
        return {name: numpy.stack([to_host(part[name])[i] for i, part in enumerate(parts)]) for name in parts[0]}

    ratio, quantity = 0.0, ""
    for method in [name for name in METHODS if runs_here(theory, name, field)]:
        call = bound(theory, method, field)
        together, values, moved = _named(call(field, arrays)), by_row(call, field), by_row(call, nearby(field))
        differences = {name: to_host(together[name]) - values[name] for name in values}
        size, name = worst(theory, differences, values, moved, precision_of(field), rows[-1])
        ratio, quantity = max((ratio, quantity), (size, f"{method} {name}"))
    return judge(couplings_by_row, ratio, 1.0, REASON, field=field, couplings=rows, quantity=quantity)


def traced_once(theory: FullTheory, field: Array, couplings: dict[str, float]) -> Verdict:
    """New values of the couplings do not make a compiled action be traced again.

    Counts how often the Python code of `action` runs under the backend's `jit`, with couplings as arrays. Code that
    branches on a coupling's value cannot be traced at all, which counts as infinite. Only a compiling backend can fail.

    >>> import numpy as np
    >>> from haarflow.theories import U1Gauge
    >>> traced_once(U1Gauge((2, 2)), np.ones((3, 2, 2, 2)), {"beta": 2.0}).residual
    0.0
    """
    backend, message, runs = backends.of(field), "", []

    def counted(field: Array, values: Tree) -> Array:
        runs.append(1)
        return theory.action(field, values)

    call = backend.jit(counted)

    def traces(*factors: float) -> int:
        before = len(runs)
        for factor in factors:
            call(field, {name: backend.asarray(factor * c, dtype=precision_of(field)) for name, c in couplings.items()})
        return len(runs) - before

    try:
        _, again, other = traces(1.0), traces(1.0, 1.0), traces(1.5, 2.0)
        more = float(max(0, other - again))
    except (TypeError, ValueError, RuntimeError) as refusal:
        more, message = math.inf, str(refusal)
    return judge(traced_once, more, 0.0, "a count", field=field, couplings=couplings, message=message)


def inputs_unchanged(theory: FullTheory, field: Array, couplings: Couplings = None) -> Verdict:
    """No method writes to its field or its couplings.

    An attempt that the array refuses (read-only arrays, JAX) counts as writing.

    >>> import numpy as np
    >>> from haarflow.theories import U1Gauge
    >>> inputs_unchanged(U1Gauge((2, 2)), np.ones((3, 2, 2, 2))).residual
    0.0
    """
    backend, message = backends.of(field), ""
    arrays = {name: backend.asarray(value, dtype=precision_of(field)) for name, value in (couplings or {}).items()}
    before = [to_host(leaf).copy() for leaf in leaves([field, arrays])]
    calls = [(method, couplings) for method in METHODS if runs_here(theory, method, field)]
    for method, values in [*calls, ("action", arrays if couplings else None)]:
        try:
            bound(theory, method, field)(field, values)
        except (TypeError, ValueError, RuntimeError) as refusal:
            message = f"{method}: {refusal}"
    after = [to_host(leaf) for leaf in leaves([field, arrays])]
    same = all(numpy.array_equal(old, new) for old, new in zip(before, after, strict=True))
    return judge(
        inputs_unchanged, 0.0 if same and not message else math.inf, 0.0, "bit for bit", field=field, message=message
    )


def compiled_as_eager(theory: FullTheory, field: Array, couplings: Couplings = None) -> Verdict:
    """jit(f)(x) = f(x) for action, force, density and observables.

    >>> import numpy as np
    >>> from haarflow.theories import U1Gauge
    >>> compiled_as_eager(U1Gauge((2, 2)), np.ones((3, 2, 2, 2))).residual
    0.0
    """
    methods = [name for name in METHODS if runs_here(theory, name, field)]
    return _compare(
        compiled_as_eager, theory, field, couplings, methods, lambda name: METHODS[name](theory)(field, couplings)
    )


def equals_numpy(theory: FullTheory, field: Array, couplings: Couplings = None) -> Verdict:
    """f(x) on the backend = f(x) on NumPy for action, force, density and observables.

    A force by automatic differentiation, which NumPy does not support, is checked by `force_by_autodiff` instead.

    >>> import numpy as np
    >>> from haarflow.theories import U1Gauge
    >>> equals_numpy(U1Gauge((2, 2)), np.ones((3, 2, 2, 2))).residual
    0.0
    """
    host = to_host(field)
    methods = [name for name in METHODS if runs_here(theory, name, field) and runs_here(theory, name, host)]
    return _compare(
        equals_numpy, theory, field, couplings, methods, lambda name: METHODS[name](theory)(host, couplings)
    )


def border(theory: FullTheory, field: Array) -> Verdict:
    """A wrong shape, type or coupling raises ValueError or TypeError in every method.

    The residual is the number of wrong arguments that were accepted or raised another error.

    >>> import numpy as np
    >>> from haarflow.theories import U1Gauge
    >>> border(U1Gauge((2, 2)), np.ones((3, 2, 2, 2))).residual
    0.0
    """
    accepted = []
    for method in [name for name in METHODS if runs_here(theory, name, field)]:
        for what, args in _nonsense(theory, field).items():
            try:
                METHODS[method](theory)(*args)
            except (ValueError, TypeError):
                continue
            except Exception as error:
                what = f"{what} ({type(error).__name__})"
            accepted.append(f"{method} of {what}")
    return judge(border, float(len(accepted)), 0.0, "a count", field=field, accepted=accepted)


def _nonsense(theory: FullTheory, field: Array) -> dict[str, tuple[Any, Any]]:
    """Invalid arguments of a method, by what is wrong with them."""
    host, backend, shape = to_host(field), backends.of(field), field_shape(theory)
    names = list(described(theory).couplings or {})
    invalid: dict[str, tuple[Any, Any]] = {
        "a longer lattice": (
            backend.asarray(numpy.concatenate([host, host[..., :1]], axis=-1), dtype=field.dtype),
            None,
        ),
        "one axis too few": (backend.asarray(numpy.zeros(shape[1:] or (shape[0] + 1,)), dtype=field.dtype), None),
        "whole numbers": (backend.asarray(numpy.zeros(field.shape, dtype="int32"), dtype="int32"), None),
        "a list": ([[0.0]], None),
        "couplings that are a number": (field, 3.0),
        "a coupling of another name": (field, {"no such coupling": 1.0}),
    }
    for name in names[:1]:
        invalid["a coupling that is NaN"] = (field, {name: math.nan})
        invalid["a coupling that is text"] = (field, {name: "1"})
        rows = backend.asarray(numpy.ones(field.shape[0] + 2), dtype=precision_of(field))
        invalid["couplings of another batch"] = (field, {name: rows})
    return invalid


def _compare(
    law: Callable[..., Verdict],
    theory: FullTheory,
    field: Array,
    couplings: Couplings,
    methods: Iterable[str],
    twin: Callable[[str], Any],
) -> Verdict:
    """The largest difference, in units of rounding, between the compiled methods and their reference."""
    ratio, quantity = 0.0, ""
    for method in methods:
        call = bound(theory, method, field)
        results = (call(field, couplings), call(nearby(field), couplings), twin(method))
        values, moved, expected = (_named(result) for result in results)
        differences = {name: to_host(values[name]) - to_host(expected[name]) for name in values}
        size, name = worst(theory, differences, values, moved, precision_of(field), couplings)
        ratio, quantity = max((ratio, quantity), (size, f"{method} {name}"))
    return judge(law, ratio, 1.0, REASON, field=field, couplings=couplings, quantity=quantity)


def _named(result: Any) -> dict[str, Any]:
    return result if isinstance(result, dict) else {"": result}
