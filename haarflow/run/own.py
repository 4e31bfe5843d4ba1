"""Custom theories and flows: what the command line names as `module:name`.

A module is imported because a person named it on the command line, never because a file says so: a recipe, a run folder
or a model file that mentions `xy:XY` needs `--theory xy:XY` on the command line.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from haarflow.backends import Backend, NoAutodiff
from haarflow.backends.tree import leaves
from haarflow.core.groups.signs import has_algebra
from haarflow.core.parts import SpinWeight, described
from haarflow.flows.catalogue import FLOWS
from haarflow.flows.catalogue import Row as FlowRow
from haarflow.run.faults import fault, in_users_code
from haarflow.theories import catalogue as theories
from haarflow.theories.fermions.action import Fermions
from haarflow.theories.theory import Space, check_theory

# the lattices on which a theory is tried to see what it offers; the first that it accepts is enough
LATTICES = ((4, 4), (8, 8), (6, 6), (3, 3), (2, 2), (16, 16), (4,), (4, 4, 4), (4, 4, 4, 4))
OF_SITES = {"Real": "phi4", "Signs": "spins"}  # group of the values at sites -> family of flows


def imported(path: str) -> Any:
    """Return the object that `module:name` names; the current folder is searched first.

    Raises ValueError if the module cannot be imported or has no such object.

    >>> imported("haarflow.theories:U1Gauge").__name__
    'U1Gauge'
    """
    module, colon, name = path.partition(":")
    if not module or not colon or not name:
        raise ValueError(f"a custom object is named module:name, such as xy:XY for XY in xy.py, got {path!r}")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        obj: Any = importlib.import_module(module)
    except ModuleNotFoundError as missing:
        raise ValueError(_no_module(path, module, str(missing.name))) from None
    except Exception as error:
        raise ValueError(f"{module} cannot be imported: {fault(error)}") from None
    for part in name.split("."):
        if not hasattr(obj, part):  # the name is a person's; modules may make their attributes on demand
            raise ValueError(_no_attribute(path, module, part, obj))
        obj = getattr(obj, part)
    return obj


def _no_module(path: str, module: str, missing: str) -> str:
    if missing and module != missing and not module.startswith(f"{missing}."):
        return f"{module} needs the module {missing!r}, which is not installed: install it in this environment"
    return (
        f"there is no module {missing!r} for {path!r}: write the file's name without .py, run the command in the file's "
        "folder, or give package.module:name as in an import"
    )


def _no_attribute(path: str, module: str, name: str, obj: Any) -> str:
    public = [word for word in dir(obj) if not word.startswith("_")]
    near = difflib.get_close_matches(name, public, n=1, cutoff=0.5)
    hint = f": did you mean {near[0]!r}?" if near else f": give the name of an object that {module} defines"
    return f"{module} has no {name!r}, which {path!r} names{hint}"


@dataclass(frozen=True)
class Own:
    """The custom theory and flow that the command line names, each a `module:name` or empty.

    >>> Own().theories is theories.THEORIES
    True
    """

    theory: str = ""
    flow: str = ""

    @cached_property
    def theories(self) -> Mapping[str, theories.Row]:
        """The catalogue of theories, with the custom one.

        Raises ValueError for a name that cannot be imported, TypeError for an object that is not a theory.
        """
        if not self.theory:
            return theories.THEORIES
        return {**theories.THEORIES, self.theory: theory_row(self.theory, imported(self.theory))}

    @property
    def modules(self) -> list[str]:
        """The modules that are named.

        >>> Own("xy:XY", "xy:flow").modules
        ['xy']
        """
        return sorted({path.partition(":")[0] for path in (self.theory, self.flow) if path})

    def flows(self, family: str) -> Mapping[str, FlowRow]:
        """Return the kinds of flow for a family of theories, with the custom one; raises as `theories` does."""
        ours = FLOWS.get(family, {})
        return {**ours, self.flow: self._flow} if self.flow else ours

    @cached_property
    def _flow(self) -> FlowRow:
        make = imported(self.flow)
        if not callable(make):
            raise TypeError(
                f"{self.flow} is {_a(make)}: give a function of the lattice that returns a Model(prior, flow) of "
                "haarflow.flows.flow"
            )
        return FlowRow(make, _first_line(make))

    def named(self, table: dict[str, Any]) -> dict[str, Any]:
        """Return a recipe's table with the names of the custom theory and flow filled in where it has none."""
        filled = dict(table)
        if self.theory and isinstance(table.get("theory", {}), dict):
            filled["theory"] = {"name": self.theory, **table.get("theory", {})}
        if self.flow and not table.get("model") and isinstance(table.get("flow", {}), dict):
            filled["flow"] = {"kind": self.flow, **table.get("flow", {})}
        return filled


NOTHING = Own()


def theory_row(name: str, make: Callable[..., Any]) -> theories.Row:
    """Return the catalogue row of a custom theory, read from the parts that it offers.

    Raises TypeError if `make` is not a theory's class or a function from lattices to theories.

    >>> from haarflow.theories import Phi4
    >>> theory_row("mine:Phi4", Phi4).samplers
    ('flow', 'hmc', 'metropolis')
    """
    theory = _tried(name, make)
    options = _options(make)
    return theories.Row(
        Maker(make),
        _family(theory),
        name.rpartition(":")[2],
        _first_line(make),
        {
            coupling: theories.Coupling("coupling", coupling, None, value)
            for coupling, value in (described(theory).couplings or {}).items()
            if coupling not in options
        },
        _samplers(theory),
        options,
    )


@dataclass(frozen=True)
class Maker:
    """The custom class or function, with its result checked: the `make` of a custom theory's row."""

    make: Callable[..., Any]

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self.make)

    @property
    def func(self) -> Any:
        """The custom class or function itself, where a partial of it was named; type hints are read from it."""
        return getattr(self.make, "func", self.make)  # only a partial has `func`

    def __call__(self, lattice: tuple[int, ...], **options: Any) -> Any:
        """Return the theory on a lattice."""
        return check_theory(self.make(lattice, **options))


def needs_autodiff(theory: Any) -> bool:
    """Return whether the force of a theory comes from differentiating its action.

    >>> from haarflow.theories import Phi4
    >>> needs_autodiff(Phi4((4, 4)))
    False
    """
    return described(theory).by_autodiff


def check_force(name: str, theory: Any, backend: Backend) -> None:
    """Raise NoAutodiff if the sampler `name` needs a force that this backend cannot derive from the action."""
    if needs_autodiff(theory) and not backend.autodiff:
        raise NoAutodiff(
            f"samplers.{name}: HMC needs the force dS/dfield, but {described(theory).name} has no method "
            f"force(field, couplings) and the {backend.name} backend does not support automatic differentiation: write "
            "the force, or choose --backend jax or torch (pip install 'haarflow[jax]')"
        )


def _tried(name: str, make: Callable[..., Any]) -> Any:
    """The theory on the first lattice that it accepts."""
    errors: list[str] = []
    required = {option: 2 for option, entry in _options(make).items() if entry.required}  # such as the N of SU(N)
    for lattice in LATTICES if callable(make) else ():
        try:
            return check_theory(make(lattice, **required))
        except Exception as error:
            errors.append(fault(error) if in_users_code(error) else str(error))
    if not errors:
        raise TypeError(
            f"{name} is {_a(make)}: --theory takes a theory's class, or a function from lattices to theories"
        )
    raise TypeError(f"{name} does not make a theory on a lattice such as {LATTICES[0]}: {errors[0]}")


def _options(make: Any) -> dict[str, theories.Option]:
    """The arguments beside the lattice: the recipe's [theory] may set them."""
    parameters = list(inspect.signature(make).parameters.values())[1:] if callable(make) else []
    return {
        entry.name: theories.Option("argument of the theory", required=entry.default is entry.empty)
        for entry in parameters
        if entry.kind not in (entry.VAR_KEYWORD, entry.VAR_POSITIONAL)
    }


def _samplers(theory: Any) -> tuple[str, ...]:
    """The kernels that the theory's parts allow; automatic differentiation gives a force, but not through the solves of a
    theory of pairs, whose links move by that of its `marginal`."""
    offered = described(theory)
    if offered.part("marginal") is not None:
        links = "pseudofermions" if offered.part("hops") is not None else "hmc"
        return ("flow", links, "marginal", "gibbs")
    moves = all(has_algebra(space.group) for space in leaves(offered.spaces))
    further = {
        "hmc": moves,
        "heatbath": offered.conditional is not None,
        "cluster": isinstance(offered.conditional, SpinWeight) and offered.conditional.bond is not None,
        "metropolis": moves and offered.local is not None,
        "pseudofermions": any(isinstance(term, Fermions) for term in offered.part("terms") or ()),
    }
    return ("flow", *(name for name, allowed in further.items() if allowed))


def _family(theory: Any) -> str:
    """The family whose flows make such fields: one real number or sign per site, one angle per link; "own" for all others."""
    spaces, lattice = described(theory).spaces, tuple(theory.lattice)
    if not isinstance(spaces, Space):
        return "own"
    shape = spaces.shape
    if theory.group.name in OF_SITES and shape == lattice:
        return OF_SITES[theory.group.name]
    return "u1" if theory.group.name == "U1" and shape == (len(lattice), *lattice) else "own"


def _first_line(obj: Any) -> str:
    """The first line of a docstring, or the name where there is none but the signature that `dataclass` writes."""
    name = getattr(obj, "__name__", type(obj).__name__)  # a partial has no name
    doc = inspect.getdoc(obj) or name
    return name if doc.startswith(f"{name}(") else doc.splitlines()[0].rstrip(".")


def _a(obj: Any) -> str:
    """What an object is, with its article."""
    kind = type(obj).__name__
    return f"{'an' if kind[:1] in 'aeiou' else 'a'} {kind}"
