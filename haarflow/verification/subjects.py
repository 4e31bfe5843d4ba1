"""The entries for the laws that a user's subject stands for: an object, `module:name`, a model file, a recipe, or everything.

The kind of an object is recognised by its attributes: a flow has `forward` and `inverse`, a model a prior and a flow, a
theory `action` and `lattice`, a Dirac operator `prepare` and `hop`, a kernel `init` and `step`, a density of one's own
`init`, `sample` and `log_density`, a prior `sample` and `log_density`, a group `compose` and `haar`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy

from haarflow import backends
from haarflow.backends.tree import tree_map
from haarflow.core.groups.matrices import precision
from haarflow.core.laws.kernels.tables import theory_of
from haarflow.core.parts import RECORDS, described
from haarflow.flows.coordinates import apart
from haarflow.flows.flow import Model
from haarflow.flows.laws.cases import condition_names
from haarflow.flows.laws.shapes import misshapen
from haarflow.flows.mixtures import AnyModel, Mixture, components, on_components, parameters
from haarflow.flows.priors import Gaussian, HaarLinks, UniformLinks, UniformSites
from haarflow.flows.symmetries import displacement
from haarflow.flows.traits import traits
from haarflow.run.faults import fault
from haarflow.run.own import NOTHING, Own, imported
from haarflow.verification import pair_subjects
from haarflow.verification.entry import Entry
from haarflow.verification.objects import ENTRIES

Lattice = tuple[int, ...]

# kind -> the attributes by which it is recognised, in the order in which they are tried
KINDS = {
    "model": ("prior", "flow"),
    "flow": ("forward", "inverse", "init"),
    "theory": ("action", "lattice", "group"),
    "weights": ("model", "theory", "log_z", "perfect"),
    "path": ("path", "couplings", "log_z", "means", "draws_at"),
    "operator": ("prepare", "hop", "apply", "adjoint", "lattice", "spinor_shape"),
    "kernel": ("init", "step", "values"),
    "density": ("init", "sample", "log_density", "lattice", "group", "field_shape"),
    "prior": ("sample", "log_density", "lattice", "group", "field_shape"),
    "group": ("compose", "inverse", "haar", "project"),
}
SHORT = (3, 4, 8)  # extents of the lattices on which a model or a theory of one array is tried
LATTICES: tuple[Lattice, ...] = ((4, 4), (8, 8), (4,), (4, 4, 4), (2, 2, 2, 2))


def entries(subject: Any = None, own: Own = NOTHING) -> list[Entry]:
    """Return the entries of a subject: None for the whole library, the name of one of its objects, `module:name`, a file, a
    recipe, or an object.

    `own` names a custom theory and flow; they are the subject if it is None, and may be named in a recipe.

    Raises ValueError for an unknown name, TypeError for an object of no known kind.

    >>> from haarflow.core.groups.additive import U1
    >>> [entry.kind for entry in entries(U1())]
    ['group']
    """
    if subject is None:
        mine = [one for word in (own.theory, own.flow) if word for one in entries(word)]
        return mine or list(ENTRIES)
    if not isinstance(subject, str):
        named = subject if isinstance(subject, type | FunctionType) else type(subject)
        return _entries_of(subject, named.__name__, "my_object")
    ours = [entry for entry in ENTRIES if entry.name == subject]
    if ours:
        return ours
    source = repr(subject)
    if ":" in subject:
        return _entries_of(imported(subject), subject, source)
    return _from_file(subject, source, own)


def kind_of(obj: Any) -> str:
    """Return the kind of an object, or raise TypeError with what it lacks of the nearest kind.

    >>> from haarflow.theories import Phi4
    >>> kind_of(Phi4((4, 4)))
    'theory'
    """
    if isinstance(obj, backends.Backend):
        return "backend"
    # the kind of a user's object depends on its attributes, not on its class; only this function asks for them
    lacking = {kind: [name for name in names if not hasattr(obj, name)] for kind, names in KINDS.items()}
    for kind, missing in lacking.items():
        if not missing:
            return kind
    near = min(lacking, key=lambda kind: len(lacking[kind]) / len(KINDS[kind]))
    if len(lacking[near]) < len(KINDS[near]) / 2:
        wanted = f"a {near} has {', '.join(KINDS[near])}, but it lacks {' and '.join(lacking[near])}"
    else:
        wanted = "; ".join(f"a {kind} has {', '.join(names)}" for kind, names in KINDS.items())
    raise TypeError(f"{type(obj).__name__} is not of a kind that has laws: {wanted}")


def _entries_of(obj: Any, name: str, source: str) -> list[Entry]:
    """An instance is checked on its lattice; a class or function of the lattice on several."""
    if isinstance(obj, type) or (callable(obj) and not _is_an_object(obj)):
        return [_made(obj, name, source)]
    held = _held(obj)
    lattice = _lattice_of(held)
    return [Entry(name, kind_of(held), lambda lattice: held, (lattice,), source)]


def _is_an_object(obj: Any) -> bool:
    """Whether a callable is itself an object of some kind."""
    try:
        kind_of(obj)
    except TypeError:
        return False
    return True


def _held(obj: Any) -> Any:
    """The object that the laws check: a flow is put on a prior, every other object is used as it is."""
    if kind_of(obj) == "flow":
        return on_a_prior(obj)
    if kind_of(obj) == "model":
        _check_model(obj)
    if kind_of(obj) == "theory":
        _check_records(obj)
    return obj


def _check_records(theory: Any) -> None:
    """Raise TypeError if a part of a theory is not the record that it should be; the rest is for the laws to check."""
    for name, kinds in RECORDS.items():
        part = described(theory).part(name)
        if not isinstance(part, (*kinds, type(None))):
            wanted = " or ".join(kind.__name__ for kind in kinds)
            raise TypeError(f"{described(theory).name}.{name} must be {wanted} of haarflow.core.parts, got {part!r}")


def _check_model(obj: Any) -> None:
    """Raise TypeError if the parts of a model are not a prior and a flow, or it is not a `Model`."""
    for part, wanted in ((obj.prior, "prior"), (obj.flow, "flow")):
        lacking = [name for name in KINDS[wanted] if not hasattr(part, name)]
        if lacking:
            has = ", ".join(KINDS[wanted])
            raise TypeError(f"a {wanted} has {has}; {type(part).__name__} of this model lacks {' and '.join(lacking)}")
    if not dataclasses.is_dataclass(obj):
        raise TypeError(f"{type(obj).__name__} has a prior and a flow: give haarflow's Model(prior, flow) of the two")


def _made(factory: Callable[[Lattice], Any], name: str, source: str) -> Entry:
    """The entry of a class or function of the lattice, on the lattices for which it makes an object of a kind.

    A function that returns flows is refused, because a flow has no lattice: an instance is needed.
    """
    made, faults = {}, []
    for lattice in LATTICES:
        try:
            obj = factory(lattice)
        except Exception as error:
            faults.append(fault(error))
            continue
        try:
            kind = kind_of(obj)
        except TypeError as error:
            faults.append(str(error))
            continue
        if kind == "flow":
            raise TypeError(
                f"{name} returns flows, which have no lattice: return Model(prior, flow), or name an instance"
            )
        made[lattice] = kind
    if not made:
        raise TypeError(
            f"{name} does not return an object of a known kind on a lattice such as {LATTICES[0]}: {faults[0]}"
        )
    lattices = tuple(made)
    return Entry(name, made[lattices[0]], lambda lattice: _held(factory(lattice)), lattices, source)


def _lattice_of(obj: Any) -> Lattice:
    """The object's own lattice, its prior's or its theory's; (4, 4) where there is none, as for a group."""
    kind = kind_of(obj)
    if kind in ("theory", "operator", "density", "prior"):
        return tuple(obj.lattice)
    if kind == "model":
        return tuple(obj.prior.lattice)
    theory = theory_of(obj) if kind == "kernel" else obj.theory if kind == "weights" else None
    return (4, 4) if theory is None else tuple(theory.lattice)


def on_a_prior(flow: Any) -> Model:
    """Return a flow on the first prior on which its inverse works; else on the first with the right shapes, or on which it
    runs at all: the laws then report what is wrong.

    Scalars, U(1) links, angles on sites, SU(2) and SU(3) links in one to four dimensions are tried. Raises TypeError
    with the first error if it runs on none of them.
    """
    faults: list[str] = []
    found: dict[int, Model] = {}
    for prior, lattice in [(prior, lattice) for prior, lattices in PRIORS for lattice in lattices]:
        model = Model(prior(lattice), flow)
        try:
            found.setdefault(_fits(model), model)
        except Exception as error:
            faults.append(f"on {model.prior}: {fault(error)}")
        if 0 in found:
            return found[0]
    if found:
        return found[min(found)]
    raise TypeError(
        f"{type(flow).__name__} does not run on fields of the priors Gaussian, UniformLinks, UniformSites and HaarLinks on "
        f"{LATTICES}: give a Model(prior, flow) on a lattice of its own ({faults[0]})"
    )


def _fits(model: Model) -> int:
    """0 if the inverse of a flow works on its prior, 1 if its shapes are right, 2 if it only runs."""
    host = backends.get("numpy")
    params = model.init(host.asarray([0, 0], dtype="int32"))
    values = {name: numpy.ones(8) for name in condition_names(model.flow)} or None
    x = 3.0 * model.prior.sample(host.asarray([0, 1], dtype="int32"), 8)
    x = model.prior.group.project(x) if model.prior.group.name != "Real" else x
    there = model.flow.forward(params, x, values)
    if misshapen("forward", there, x):
        return 2
    back = model.flow.inverse(params, there[0], values)
    if misshapen("inverse", back, x):
        return 2
    off = apart(model.prior.group, back[0], x)
    return 0 if bool(numpy.all(numpy.abs(off) < 1e-6 * (1.0 + numpy.abs(x)))) else 1


# priors on which a flow is tried, in this order; links in one dimension look like sites in two and come late
PRIORS: tuple[tuple[Callable[[Lattice], Any], tuple[Lattice, ...]], ...] = (
    (Gaussian, LATTICES),
    (UniformLinks, tuple(lattice for lattice in LATTICES if len(lattice) > 1)),
    (UniformSites, LATTICES),
    (UniformLinks, LATTICES),
    (partial(HaarLinks, n=2), LATTICES),
    (partial(HaarLinks, n=3), LATTICES),
)


@dataclass(frozen=True)
class Fixed:
    """A flow with fixed parameters, those of a trained model."""

    flow: Any
    params: Any = field(compare=False)

    trained = True

    @property
    def symmetries(self) -> tuple[str, ...]:
        """Those of the flow."""
        return traits(self.flow).symmetries

    @property
    def periods(self) -> tuple[int, ...]:
        """Those of the flow."""
        return traits(self.flow).periods

    @property
    def displacement(self) -> tuple[int, ...]:
        """That of the flow."""
        return displacement(self.flow)

    @property
    def integrated(self) -> bool:
        """Whether the flow's log-determinant is that of continuous time."""
        return traits(self.flow).integrated

    @property
    def onto(self) -> Any:
        """The discrete group onto which the flow maps, None for a bijection."""
        return traits(self.flow).onto

    def refined(self, factor: int) -> Fixed:
        """Return the integrated flow in `factor` times as many steps."""
        return replace(self, flow=self.flow.refined(factor))

    def init(self, key: Any, dtype: str = "float64") -> dict[str, Any]:
        """Return no parameters."""
        return {}

    def forward(self, params: Any, x: Any, condition: Any = None) -> tuple[Any, Any]:
        """Apply the flow with its parameters."""
        result: tuple[Any, Any] = self.flow.forward(self._on(x), x, condition)
        return result

    def inverse(self, params: Any, y: Any, condition: Any = None) -> tuple[Any, Any]:
        """Undo the flow."""
        result: tuple[Any, Any] = self.flow.inverse(self._on(y), y, condition)
        return result

    def _on(self, x: Any) -> Any:
        return tree_map(lambda leaf: backends.of(x).asarray(leaf, dtype=precision(x)), self.params)


def _from_file(name: str, source: str, own: Own) -> list[Entry]:
    """A published folder, a model file or a recipe, by path or by the name of one that ships."""
    from haarflow import models
    from haarflow.report.exporting import SUMS, check_sums
    from haarflow.run import recipes

    if name in recipes.names() or name.endswith(".toml"):
        return _of_recipe(recipes.load(name, own=own), name, source, own)
    if (Path(name) / SUMS).is_file():
        check_sums(Path(name))
        return [_trained(name, source, own)]
    if not name.endswith(".safetensors") and name not in models.shipped():
        known = ", ".join([*recipes.names(), *models.shipped()])
        raise ValueError(
            f"there is nothing called {name!r} to verify: give module:name, a model file, a recipe ({known}) or an object of the "
            f"library ({', '.join(entry.name for entry in ENTRIES[:4])}, ...; haarflow verify --list)"
        )
    return [_trained(name, source, own)]


def _trained(name: str, source: str, own: Own) -> Entry:
    """A model file with its parameters, on the smallest lattice that its flow accepts."""
    from haarflow.run.models import opened_model

    opened = opened_model(name, own=own)
    trained = dict(zip(components(opened.model), parameters(opened.model, opened.params), strict=True))

    def on(lattice: Lattice) -> Any:
        def moved(part: Model) -> Model:
            return replace(part, flow=Fixed(part.flow, trained[part]), prior=replace(part.prior, lattice=lattice))

        return on_components(moved, opened.model)

    return _smallest(name, kind_of(_held(opened.model)), on, opened.model.lattice, source)


def _of_recipe(recipe: Any, name: str, source: str, own: Own) -> list[Entry]:
    """The theory of a recipe, and its untrained flow or its trained model."""
    from haarflow.run.build import model_of
    from haarflow.run.target import target_of

    def theory(lattice: Lattice) -> Any:
        return target_of(recipe, lattice).theory

    def flow(lattice: Lattice) -> AnyModel:
        return model_of(target_of(recipe, lattice), own)

    pairs, whole = pair_subjects.is_of_pairs(theory(recipe.lattice)), recipe.lattice
    found = pair_subjects.theories(theory) if pairs else [("theory", "theory", theory)]
    if recipe.flow and pairs:
        found += pair_subjects.models(flow, theory, whole, target_of(recipe).couplings.get("kappa"))
    elif recipe.flow:
        found += [("flow", kind_of(flow(whole)), flow)]
    extents = pair_subjects.EXTENTS if pairs else SHORT
    entries = [_smallest(f"{name} {what}", kind, make, whole, source, extents) for what, kind, make in found]
    return [*entries, *([_trained(recipe.model, source, own)] if recipe.model else [])]


def _smallest(
    name: str, kind: str, make: Any, lattice: Lattice, source: str, extents: tuple[int, ...] = SHORT
) -> Entry:
    """An entry on the first lattice that works, of equal extents and its own: dense Jacobians need few components."""
    for short in ((extent,) * len(lattice) for extent in extents):
        if math.prod(short) <= math.prod(lattice) and _draws(make, short):
            return Entry(name, kind, make, (short,), source)
    return Entry(name, kind, make, (tuple(lattice),), source)


def _draws(make: Any, lattice: tuple[int, ...]) -> bool:
    """Whether an object can be made on a lattice and, for a model, can draw and be inverted there."""
    key = backends.get("numpy").asarray([0, 0], dtype="int32")
    try:
        found = make(lattice)
        if isinstance(found, Model | Mixture):
            params, condition = found.init(key), {name: numpy.ones(1) for name in condition_names(found)}
            found.log_density(params, found.sample(params, key, 1, condition=condition)[0], condition)
    except ValueError:
        return False
    return True
