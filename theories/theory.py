"""What a theory is, and the checks at its border.

A theory is a frozen record with `lattice`, `group` and `action(field, couplings=None)`; all else is optional and
listed in `FullTheory`. Couplings are an argument, a dict of numbers or batch-shaped arrays, so that a new value
compiles nothing. The checks look at names, shapes and types alone: they are free under jit, where no value is known.
"""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

from array_api_compat import array_namespace

from haarflow import backends
from haarflow.backends.tree import CONTAINERS, leaves
from haarflow.backends.types import Array, Couplings, Tree
from haarflow.backends.types import Theory as Theory
from haarflow.core.axes import field_shape as field_shape
from haarflow.core.groups.matrices import precision
from haarflow.core.lattice.symmetries import SYMMETRIES as SYMMETRIES
from haarflow.core.parts import REMEDY, AngleWeight, LinkWeight, Local, SpinWeight, Symmetries, described
from haarflow.core.parts import autodiff_force as autodiff_force
from haarflow.core.parts import check_theory as check_theory
from haarflow.core.parts import force_of as force_of
from haarflow.core.spaces import Space as Space
from haarflow.core.spaces import batch_shape, paths

REAL = ("real floating", ("float64", "float32"))
COMPLEX = ("complex floating", ("complex128", "complex64"))


class Derived(NamedTuple):
    """A quantity formed from ensemble means: `function(*means)` of the named primary observables.

    `inside` names the observable that is 1 on the configurations of which it is a mean and 0 on others, see `statistics.within`.

    >>> half = Derived(("m_2",), lambda m_2: m_2 / 2)
    >>> half.function(3.0)
    1.5
    """

    ingredients: tuple[str, ...]
    function: Callable[..., Any]
    inside: str = ""


@runtime_checkable
class FullTheory(Theory, Protocol):
    """All that a theory may offer beside its action; None stands for what it does not.

    `spaces`: `Space(group, shape)`, or a NamedTuple of them for fields of several arrays, in place of `group` and
    `field_shape`. `couplings`: names and defaults. `force`: F = dS along the group, field-shaped; absent, the action is
    differentiated. `difference`: S(new) - S(old) as the theory forms it itself. `local`: the action as a sum over
    sites. `conditional`: the weight of one link or spin. `observables`: per-configuration values, `(*batch,)` or
    `(*batch, n)`. `derived`: name -> `Derived`. `summary`: the names a report shows. `correlators`: those of
    observables `(*batch, T)` that it draws against t. `exact`: name -> value where known. `symmetries`: under which the
    action and the observables are invariant. `conjugates`: coupling c -> the numbers k_O of dS/dc = sum_O k_O O. The
    records are those of `haarflow.core.parts`.
    """

    @property
    def couplings(self) -> Mapping[str, float]:
        """The couplings' names and defaults."""
        ...

    @property
    def local(self) -> Local | None:
        """The action as a sum over sites."""
        ...

    @property
    def conditional(self) -> AngleWeight | LinkWeight | SpinWeight | None:
        """The weight of one link or spin, all others held."""
        ...

    @property
    def symmetries(self) -> Symmetries | None:
        """Under what the action and the observables are invariant."""
        ...

    @property
    def conjugates(self) -> Mapping[str, Mapping[str, float]]:
        """dS/dc as numbers times observables, by the coupling's name."""
        ...

    @property
    def field_shape(self) -> tuple[int, ...]:
        """The field's shape without the batch."""
        ...

    @property
    def derived(self) -> dict[str, Derived]:
        """Quantities formed from means of observables."""
        ...

    @property
    def summary(self) -> tuple[str, ...]:
        """The names a report shows, primary or derived."""
        ...

    def force(self, field: Array, couplings: Couplings = None) -> Array:
        """Return F = dS along the group."""
        ...

    def observables(self, field: Array, couplings: Couplings = None) -> dict[str, Array]:
        """Return the per-configuration values by name."""
        ...

    def exact(self, couplings: Couplings = None) -> dict[str, float]:
        """Return what is known exactly, by name."""
        ...


def no_subclass(derived: type) -> TypeError:
    """Return the error of a class that is derived from one of the library's theories, which are final."""
    return TypeError(
        f"{derived.__name__} is derived from the theory {derived.__mro__[1].__name__}, whose other parts would still describe "
        f"the old action; {REMEDY}"
    )


def check_field(theory: Theory, field: Tree) -> int:
    """Return the number of batch axes of a field, or raise for wrong shapes or parts (ValueError) or types (TypeError).

    >>> import numpy as np
    >>> from haarflow.theories import Phi4
    >>> check_field(Phi4((4, 4)), np.zeros((10, 4, 4)))
    1
    """
    spaces = described(theory).spaces
    if isinstance(spaces, Space):
        return _check_array(theory, "field", spaces, field)
    parts, wanted = paths(field), paths(spaces)
    for path in parts.keys() & wanted.keys():
        _check_array(theory, path, wanted[path], parts[path])
    return len(batch_shape(spaces, field, _name(theory)))


def _check_array(theory: Theory, path: str, space: Space, field: Array) -> int:
    """Return the number of batch axes of one array of a field."""
    shape, what = tuple(space.shape), "a field" if path == "field" else path
    if not hasattr(field, "dtype") or not hasattr(field, "shape"):
        raise TypeError(
            f"{_name(theory)} wants {'an array' if path == 'field' else path} of shape (*batch, {_inner(shape)}), got "
            f"{type(field).__name__}: convert with backend.asarray(...)"
        )
    if tuple(field.shape[-len(shape) :]) != shape:
        raise ValueError(
            f"{_name(theory)} on the lattice {tuple(theory.lattice)} wants {what} of shape (*batch, {_inner(shape)}), "
            f"got {tuple(field.shape)}: the lattice axes come last"
        )
    is_complex = space.group.matrix_axes > 0 or space.group.name == "Complex"
    kind, types = COMPLEX if is_complex else REAL
    if not array_namespace(field).isdtype(field.dtype, kind):
        raise TypeError(
            f"{_name(theory)} wants {what} of {' or '.join(types)}, got {field.dtype}: convert with backend.asarray(x, "
            f'dtype="{types[0]}")'
        )
    return len(field.shape) - len(shape)


def check_finite(theory: Theory, field: Tree) -> None:
    """Raise ValueError when a concrete field holds a NaN or an infinity; it reads every value, so not under jit.

    >>> import numpy as np
    >>> from haarflow.theories import Phi4
    >>> check_finite(Phi4((2, 2)), np.asarray([[0.0, np.nan], [0.0, 0.0]]))
    Traceback (most recent call last):
        ...
    ValueError: Phi4 wants a finite field, got 1 value of 4 that is NaN or infinite
    """
    check_field(theory, field)
    for path, part in paths(field).items():
        xp = array_namespace(part)
        bad = int(xp.sum(xp.astype(~xp.isfinite(part), xp.int32)))
        if bad:
            values = "1 value" if bad == 1 else f"{bad} values"
            verb = "is" if bad == 1 else "are"
            raise ValueError(
                f"{_name(theory)} wants a finite {path}, got {values} of {math.prod(part.shape)} that {verb} NaN or "
                "infinite"
            )


def check_couplings(theory: Theory, couplings: Couplings = None) -> dict[str, Any]:
    """Return all couplings by name, defaults filled in, numbers as floats.

    Raises ValueError for an unknown name (with the nearest right one) and for a number that is not finite, TypeError
    for what is neither a number nor an array.

    >>> from haarflow.theories import U1Gauge
    >>> check_couplings(U1Gauge((4, 4)), {"bta": 2.0})
    Traceback (most recent call last):
        ...
    ValueError: U1Gauge has the coupling beta, got 'bta': did you mean 'beta'?
    """
    defaults = dict(described(theory).couplings or {})
    given = {} if couplings is None else couplings
    if not isinstance(given, Mapping):
        raise TypeError(
            f"{_name(theory)} wants couplings as a dict of {_names(defaults)}, got {type(given).__name__}: "
            f"write {_example(defaults)}"
        )
    for name in given:
        if name not in defaults:
            raise ValueError(_unknown(theory, name, defaults))
    return {name: _number(theory, name, given.get(name, value)) for name, value in defaults.items()}


def checked(theory: Theory, couplings: Couplings = None) -> dict[str, Any]:
    """Return all couplings by the theory's own `check(couplings)`, or by `check_couplings` where it has none."""
    own = described(theory).check
    return check_couplings(theory, couplings) if own is None else own(couplings)


def number_of(theory: Theory, couplings: Couplings, name: str) -> float:
    """Return one coupling as a number; raises ValueError for an array, for which no exact result is known.

    >>> from haarflow.theories import U1Gauge
    >>> number_of(U1Gauge((4, 4)), None, "beta")
    2.0
    """
    value = checked(theory, couplings)[name]
    shape = () if isinstance(value, float) else tuple(value.shape)
    if shape != ():
        raise ValueError(f"exact results take numbers as couplings, got {name} of shape {shape}")
    return float(value)


def couplings_for(theory: Theory, field: Tree, couplings: Couplings, over: int | None = None) -> dict[str, Any]:
    """Check a field against the theory and return its couplings, ready to multiply arrays that carry `over` axes
    after the batch (default: the field's own; a field of several parts has no default).

    Batch-shaped arrays get the field's precision and `over` axes of extent 1. Raises as `check_field` and the theory's
    own `check(couplings)` (or `check_couplings` where it has none) do, MixedBackends (a TypeError) when a coupling's
    backend is not the field's, and ValueError when its shape does not broadcast with the batch.

    >>> import numpy as np
    >>> from haarflow.theories import U1Gauge
    >>> couplings_for(U1Gauge((4, 4)), np.zeros((3, 2, 4, 4)), {"beta": np.asarray([1.0, 2.0, 3.0])})["beta"].shape
    (3, 1, 1, 1)
    """
    batch, first = check_field(theory, field), leaves(field)[0]
    if over is None and isinstance(field, CONTAINERS):
        raise ValueError(f"couplings_for wants `over`, the axes after the batch, for the parts of {_name(theory)}")
    over = len(first.shape) - batch if over is None else over
    return {
        name: value if isinstance(value, float) else _expand(theory, name, value, first, batch, over)
        for name, value in checked(theory, couplings).items()
    }


def refuse(theory: Theory, **wanted: tuple[Any, bool, str]) -> None:
    """Raise ValueError for couplings that make no sense: `name=(value, sensible, "what was wanted")`.

    Arrays pass: their values may not be known.
    """
    for name, (value, sensible, what) in wanted.items():
        if isinstance(value, float) and not sensible:
            raise ValueError(f"{_name(theory)} wants {what}, got {name} = {value}")


def _number(theory: Theory, name: str, value: Any) -> Any:
    if isinstance(value, float) or (isinstance(value, numbers.Real) and not isinstance(value, bool)):
        if not math.isfinite(value):
            raise ValueError(f"{_name(theory)} wants a finite number for {name}, got {value}")
        return float(value)
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return value
    raise TypeError(f"{_name(theory)} wants a number or a batch-shaped array for {name}, got {value!r}")


def _expand(theory: Theory, name: str, value: Array, field: Array, batch: int, over: int) -> Array:
    backends.of(field, value)
    shape, wanted = tuple(value.shape), tuple(field.shape[:batch])
    padded = (1,) * (batch - len(shape)) + shape
    if len(shape) > batch or any(have not in (1, want) for have, want in zip(padded, wanted, strict=True)):
        raise ValueError(
            f"{_name(theory)} wants {name} as a number or an array of the batch's shape {wanted}, got shape {shape}"
        )
    xp = array_namespace(field)
    real = getattr(xp, precision(field))
    value = value if value.dtype == real else xp.astype(value, real)
    return xp.reshape(value, shape + (1,) * over) if shape and over else value


def _unknown(theory: Theory, name: Any, defaults: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(str(name), defaults, n=1, cutoff=0.5)
    hint = f": did you mean {near[0]!r}?" if near else ""
    return f"{_name(theory)} has {_names(defaults)}, got {name!r}{hint}"


def _names(defaults: Mapping[str, Any]) -> str:
    if not defaults:
        return "no couplings"
    return ("the coupling " if len(defaults) == 1 else "the couplings ") + ", ".join(defaults)


def _example(defaults: Mapping[str, Any]) -> str:
    return "{" + ", ".join(f'"{name}": {value}' for name, value in defaults.items()) + "}"


def _name(theory: Theory) -> str:
    return described(theory).name


def _inner(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))
