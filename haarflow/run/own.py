"""One's own physics: theories and flows that the command line names as `module:name`.

A module is imported because a person named it on the command line, never because a file says so: a recipe, a run's folder
or a model file that speaks of `xy:XY` wants `--theory xy:XY` beside it.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from haarflow.backends import Backend, NoAutodiff
from haarflow.backends.types import Array, Couplings
from haarflow.core.parts import described
from haarflow.flows.catalogue import FLOWS
from haarflow.flows.catalogue import Row as FlowRow
from haarflow.run.faults import fault
from haarflow.theories import catalogue as theories
from haarflow.theories.theory import Space, check_theory, field_shape, force_of

LATTICES = ((4, 4), (4,), (4, 4, 4), (4, 4, 4, 4))  # on which a theory is tried to see what it offers


def imported(path: str) -> Any:
    """Return the object of `module:name`; the current folder is searched first. Raises ValueError where there is none."""
    module, colon, name = path.partition(":")
    if not colon or not name:
        raise ValueError(f"one's own theory or flow is named module:name, such as xy:XY for XY in xy.py, got {path!r}")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as missing:
        raise ValueError(
            f"no module {missing.name!r} for {path!r}: give package.module:name, as in an import"
        ) from None
    except Exception as error:
        raise ValueError(f"{module} cannot be imported: {fault(error)}") from None
    for part in name.split("."):
        if not hasattr(found, part):
            raise ValueError(
                f"{module} has no {part!r}: give package.module:name of a flow, model, theory, kernel or group"
            )
        found = getattr(found, part)
    return found


@dataclass(frozen=True)
class Completed:
    """A theory of one's own with what a run asks beyond its parts: a force by autodiff, the action as an observable.

    All that the theory offers is its own; nothing is added that a sampler could take for a part of it.
    """

    own: Any

    def __getattr__(self, name: str) -> Any:
        """Return the theory's own part; dunder names are this record's, so that it pickles."""
        if name == "own" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.own, name)

    @property
    def field_shape(self) -> tuple[int, ...]:
        """The theory's own, or its lattice."""
        return field_shape(self.own)

    @property
    def couplings(self) -> dict[str, float]:
        """The theory's own, or none."""
        return dict(getattr(self.own, "couplings", {}))

    def force(self, field: Array, couplings: Couplings = None) -> Array:
        """Return the theory's own force, or the one by autodiff."""
        return force_of(self.own)(field, couplings)

    def observables(self, field: Array, couplings: Couplings = None) -> dict[str, Array]:
        """Return the theory's own observables, or the action."""
        if hasattr(self.own, "observables"):
            return dict(self.own.observables(field, couplings))
        return {"action": self.own.action(field, couplings)}

    def exact(self, couplings: Couplings = None) -> dict[str, float]:
        """Return what the theory knows exactly, or nothing."""
        return dict(self.own.exact(couplings)) if hasattr(self.own, "exact") else {}


@dataclass(frozen=True)
class Own:
    """The theory and the flow that the command line names, each a `module:name` or empty.

    >>> Own().theories is theories.THEORIES
    True
    """

    theory: str = ""
    flow: str = ""

    @cached_property
    def theories(self) -> Mapping[str, theories.Row]:
        """The catalogue of theories with one's own."""
        if not self.theory:
            return theories.THEORIES
        return {**theories.THEORIES, self.theory: theory_row(self.theory, imported(self.theory))}

    def flows(self, family: str) -> Mapping[str, FlowRow]:
        """The kinds of flow for a family of theories with one's own."""
        ours = FLOWS.get(family, {})
        return {**ours, self.flow: self._flow} if self.flow else ours

    @cached_property
    def _flow(self) -> FlowRow:
        made = imported(self.flow)
        if not callable(made):
            raise TypeError(f"{self.flow} is no function of a lattice that returns a Model(prior, flow)")
        return FlowRow(made, _first_line(made))

    def named(self, table: dict[str, Any]) -> dict[str, Any]:
        """Return a recipe's table in which [theory] and [flow] say what the command names; what they say else is checked
        like any other word.
        """
        found = dict(table)
        if self.theory and isinstance(table.get("theory", {}), dict):
            found["theory"] = {"name": self.theory, **table.get("theory", {})}
        if self.flow and not table.get("model") and isinstance(table.get("flow", {}), dict):
            found["flow"] = {"kind": self.flow, **table.get("flow", {})}
        return found


NOTHING = Own()


def theory_row(word: str, make: Callable[..., Any]) -> theories.Row:
    """Return the catalogue's row of a theory of one's own, from what it offers: couplings, options, samplers, flows.

    Raises TypeError for what makes no theory of a lattice.
    """
    theory = _tried(word, make)
    options = _options(make)
    couplings = dict(getattr(theory, "couplings", {}))
    return theories.Row(
        Maker(make),
        _family(theory),
        word.rpartition(":")[2],
        _first_line(make),
        {
            name: theories.Coupling("coupling", name, None, value)
            for name, value in couplings.items()
            if name not in options
        },
        _samplers(theory),
        options,
    )


@dataclass(frozen=True)
class Maker:
    """What makes the completed theory, with the arguments of one's own class or function."""

    make: Callable[..., Any]

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self.make)

    @property
    def func(self) -> Any:
        """One's own class or function, as of a partial."""
        return getattr(self.make, "func", self.make)

    def __call__(self, lattice: tuple[int, ...], **options: Any) -> Completed:
        """Return the theory on a lattice."""
        return Completed(check_theory(self.make(lattice, **options)))


def needs_autodiff(theory: Any) -> bool:
    """Whether the force of a theory comes from differentiating its action."""
    own = getattr(theory, "own", theory)
    return described(own).by_autodiff


def check_force(name: str, theory: Any, backend: Backend) -> None:
    """Raise NoAutodiff, naming what is missing, where HMC has no force to move by."""
    if needs_autodiff(theory) and not backend.autodiff:
        raise NoAutodiff(
            f"samplers.{name}: HMC needs dS/dfield, but {type(getattr(theory, 'own', theory)).__name__} has no method "
            f"force(field, couplings) and {backend.name} no automatic differentiation: write the force, or choose "
            "--backend jax or torch (pip install 'haarflow[jax]')"
        )


def _tried(word: str, make: Callable[..., Any]) -> Any:
    """The theory on the first lattice that it takes."""
    faults = []
    required = {name: 2 for name, entry in _options(make).items() if entry.required}  # a size, where one is asked for
    for lattice in LATTICES if callable(make) else ():
        try:
            return check_theory(make(lattice, **required))
        except (ValueError, TypeError) as fault:
            faults.append(f"on {lattice}: {fault}")
    why = faults[0] if faults else f"it is a {type(make).__name__}"
    raise TypeError(f"{word} makes no theory of a lattice ({why}): give a class or a function of a lattice")


def _options(make: Any) -> dict[str, theories.Option]:
    parameters = list(inspect.signature(make).parameters.values())[1:] if callable(make) else []
    return {
        entry.name: theories.Option("what the theory is defined by", required=entry.default is entry.empty)
        for entry in parameters
        if entry.kind not in (entry.VAR_KEYWORD, entry.VAR_POSITIONAL)
    }


def _samplers(theory: Any) -> tuple[str, ...]:
    """The kernels that the theory's parts allow; a force can always be had by autodiff."""
    offered = described(theory)
    heatbath, local = offered.conditional is not None, offered.local is not None
    return ("flow", "hmc", *(["heatbath"] if heatbath else []), *(["metropolis"] if local else []))


def _family(theory: Any) -> str:
    """The family whose flows move such fields: one real number a site, one angle a link; else none of ours."""
    spaces, lattice = described(theory).spaces, tuple(theory.lattice)
    if not isinstance(spaces, Space):
        return "own"
    shape = spaces.shape
    if theory.group.name == "Real" and shape == lattice:
        return "phi4"
    return "u1" if theory.group.name == "U1" and shape == (len(lattice), *lattice) else "own"


def _first_line(obj: Any) -> str:
    """The first line of a docstring, without what `dataclass` writes where there is none; else the name."""
    name = getattr(obj, "__name__", "one's own")
    said = inspect.getdoc(obj) or name
    return name if said.startswith(f"{name}(") else said.splitlines()[0].rstrip(".")
