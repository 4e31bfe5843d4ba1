"""From what a user names to entries for the laws: an object, `module:name`, a model file, a recipe, or everything.

An object's kind is read off what it can do: a flow has `forward` and `inverse`, a model a prior and a flow, a theory
`action` and `lattice`, a kernel `init` and `step`, a prior `sample` and `log_density`, a group `compose` and `haar`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from types import FunctionType
from typing import Any

import numpy

from haarflow import backends
from haarflow.backends.tree import tree_map
from haarflow.backends.types import Array, Key
from haarflow.core.groups.additive import U1
from haarflow.core.groups.matrices import precision
from haarflow.core.laws.chain import theory_of
from haarflow.flows.coordinates import apart
from haarflow.flows.flow import Model, zero_log_det
from haarflow.flows.laws.cases import condition_names
from haarflow.flows.laws.shapes import misshapen
from haarflow.flows.priors import Gaussian, HaarLinks, UniformLinks
from haarflow.flows.symmetries import displacement
from haarflow.flows.traits import traits
from haarflow.run.faults import fault
from haarflow.run.own import NOTHING, Own, imported
from haarflow.verification.entry import Entry
from haarflow.verification.objects import ENTRIES

Lattice = tuple[int, ...]

# kind -> the attributes that tell it, in the order in which they are tried
KINDS = {
    "model": ("prior", "flow"),
    "flow": ("forward", "inverse", "init"),
    "theory": ("action", "lattice", "group"),
    "kernel": ("init", "step", "values"),
    "prior": ("sample", "log_density", "lattice", "group", "field_shape"),
    "group": ("compose", "inverse", "exp", "log"),
}
LATTICES: tuple[Lattice, ...] = ((4, 4), (8, 8), (4,), (4, 4, 4), (2, 2, 2, 2))


def entries(subject: Any = None, own: Own = NOTHING) -> list[Entry]:
    """Return the entries of a subject: None for all of ours, a name of ours, `module:name`, a file, a recipe, an object.

    `own` is what the command line names of one's own: it stands for None, and for what a recipe says of it.

    Raises ValueError where a word leads nowhere, TypeError for an object of no kind the laws know.

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
    """Return the kind of an object, or raise TypeError with what each kind has, or what the nearest one has and it lacks.

    >>> from haarflow.theories import Phi4
    >>> kind_of(Phi4((4, 4)))
    'theory'
    """
    if isinstance(obj, backends.Backend):
        return "backend"
    # a user's object is of a kind by what it can do, not by its class: this is the one place where that is asked
    lacking = {kind: [name for name in names if not hasattr(obj, name)] for kind, names in KINDS.items()}
    for kind, missing in lacking.items():
        if not missing:
            return kind
    near = min(lacking, key=lambda kind: len(lacking[kind]) / len(KINDS[kind]))
    if len(lacking[near]) < len(KINDS[near]) / 2:
        wanted = f"a {near} has {', '.join(KINDS[near])}, and this one lacks {' and '.join(lacking[near])}"
    else:
        wanted = "; ".join(f"a {kind} has {', '.join(names)}" for kind, names in KINDS.items())
    raise TypeError(f"{type(obj).__name__} is of no kind that the laws know: {wanted}")


def _entries_of(obj: Any, name: str, source: str) -> list[Entry]:
    """An instance stands for itself on its own lattice; a class or function of a lattice is made on several."""
    if isinstance(obj, type) or (callable(obj) and not _is_an_object(obj)):
        return [_made(obj, name, source)]
    held = _held(obj)
    lattice = _lattice_of(held)
    return [Entry(name, kind_of(held), lambda lattice: held, (lattice,), source)]


def _is_an_object(obj: Any) -> bool:
    """Whether something that can be called is an object of some kind all the same."""
    try:
        kind_of(obj)
    except TypeError:
        return False
    return True


def _held(obj: Any) -> Any:
    """What the laws look at: a bare flow on a prior that it moves, every other object as it is."""
    if kind_of(obj) == "flow":
        return on_a_prior(obj)
    if kind_of(obj) == "model":
        _check_model(obj)
    return obj


def _check_model(obj: Any) -> None:
    """Raise TypeError where a model's prior is no prior, its flow no flow, or itself none of ours."""
    for part, wanted in ((obj.prior, "prior"), (obj.flow, "flow")):
        lacking = [name for name in KINDS[wanted] if not hasattr(part, name)]
        if lacking:
            has = ", ".join(KINDS[wanted])
            raise TypeError(f"a {wanted} has {has}; {type(part).__name__} of this model lacks {' and '.join(lacking)}")
    if not dataclasses.is_dataclass(obj):
        raise TypeError(f"{type(obj).__name__} has a prior and a flow: give haarflow's Model(prior, flow) of the two")


def _made(factory: Callable[[Lattice], Any], name: str, source: str) -> Entry:
    """The entry of a class or function of a lattice, on the lattices where it makes something of a kind.

    A class or function of flows makes a flow on whatever it is called with: it is asked for an instance.
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
            raise TypeError(f"{name} makes flows, which have no lattice: give an instance, or Model(prior, flow)")
        made[lattice] = kind
    if not made:
        raise TypeError(
            f"{name} makes nothing on any of the lattices {LATTICES}: give an object, or a function of a lattice that "
            f"returns one ({faults[0]})"
        )
    lattices = tuple(made)
    return Entry(name, made[lattices[0]], lambda lattice: _held(factory(lattice)), lattices, source)


def _lattice_of(obj: Any) -> Lattice:
    """The object's own lattice, its prior's or its theory's; (4, 4) where there is none, as for a group."""
    kind = kind_of(obj)
    if kind in ("theory", "prior"):
        return tuple(obj.lattice)
    if kind == "model":
        return tuple(obj.prior.lattice)
    theory = theory_of(obj) if kind == "kernel" else None
    return (4, 4) if theory is None else tuple(theory.lattice)


def on_a_prior(flow: Any) -> Model:
    """Return a flow on the first prior that it moves and finds its way back on; else the first where its shapes are right,
    or where it runs at all: what is wrong then is for the laws to say.

    Tried are scalars, U(1) links and angles on sites, SU(2) and SU(3) links, in one to four dimensions. Raises TypeError
    where it runs on none, with the first fault.
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
        f"{type(flow).__name__} moves no field of the priors Gaussian, UniformLinks, UniformSites and HaarLinks on "
        f"{LATTICES}: give a Model(prior, flow) on a lattice of its own ({faults[0]})"
    )


def _fits(model: Model) -> int:
    """0 where a flow finds its way back on its prior, 1 where its shapes are right, 2 where it only runs."""
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


@dataclass(frozen=True)
class UniformSites:
    """Angles on sites by the Haar measure dtheta/2pi, for flows of such fields.

    >>> UniformSites((2, 3)).field_shape
    (2, 3)
    """

    lattice: tuple[int, ...]
    group = U1()
    symmetries = ("translation", "reflection", "hypercubic", "charge_conjugation")

    @property
    def field_shape(self) -> tuple[int, ...]:
        """The lattice."""
        return self.lattice

    def sample(self, key: Key, n: int, dtype: str = "float64") -> Array:
        """Return n fields `(n, *lattice)`."""
        return self.group.haar(key, (n, *self.lattice), dtype)

    def log_density(self, x: Array) -> Array:
        """Return zeros of the batch's shape."""
        return zero_log_det(x, len(self.lattice))


# where a bare flow is tried, in this order: links in one dimension look like sites in two, and come late
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
    """A flow with its parameters given once: those of a trained model."""

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
    """A model file or a recipe, by path or by the name of one that ships."""
    from haarflow import models
    from haarflow.run import recipes

    if name in recipes.names() or name.endswith(".toml"):
        return _of_recipe(recipes.load(name, own=own), name, source, own)
    if not name.endswith(".safetensors") and name not in models.shipped():
        known = ", ".join([*recipes.names(), *models.shipped()])
        raise ValueError(
            f"nothing to verify is called {name!r}: give module:name, a model file, a recipe ({known}) or one of "
            f"ours ({', '.join(entry.name for entry in ENTRIES[:4])}, ...; haarflow verify --list)"
        )
    return [_trained(name, source)]


def _trained(name: str, source: str) -> Entry:
    """A model file, with its own parameters, on the smallest lattice that its flow takes."""
    from haarflow import models
    from haarflow.flows.modelfile import open_model

    opened = open_model(models.path_of(name))
    flow, prior = Fixed(opened.model.flow, opened.params), opened.model.prior
    return _smallest(name, "model", lambda lattice: Model(replace(prior, lattice=lattice), flow), prior.lattice, source)


def _of_recipe(recipe: Any, name: str, source: str, own: Own) -> list[Entry]:
    """A recipe's theory, and its untrained flow or its trained model."""
    from haarflow.run.build import model_of
    from haarflow.run.target import target_of

    found = [
        _smallest(f"{name} theory", "theory", lambda lattice: target_of(recipe, lattice).theory, recipe.lattice, source)
    ]
    if recipe.flow:
        found.append(
            _smallest(
                f"{name} flow",
                "model",
                lambda lattice: model_of(target_of(recipe, lattice), own),
                recipe.lattice,
                source,
            )
        )
    if recipe.model:
        found.append(_trained(recipe.model, source))
    return found


def _smallest(name: str, kind: str, make: Any, lattice: tuple[int, ...], source: str) -> Entry:
    """An entry on the first lattice that works, of extents 3, 4, 8 and its own: a dense Jacobian wants few components."""
    for extents in ((extent,) * len(lattice) for extent in (3, 4, 8)):
        if math.prod(extents) <= math.prod(lattice) and _draws(make, extents):
            return Entry(name, kind, make, (extents,), source)
    return Entry(name, kind, make, (tuple(lattice),), source)


def _draws(make: Any, lattice: tuple[int, ...]) -> bool:
    """Whether an object can be made on a lattice, and for a model whether it draws and finds its way back there."""
    key = backends.get("numpy").asarray([0, 0], dtype="int32")
    try:
        found = make(lattice)
        if isinstance(found, Model):
            params, condition = found.init(key), {name: numpy.ones(1) for name in condition_names(found.flow)}
            found.log_density(params, found.sample(params, key, 1, condition=condition)[0], condition)
    except ValueError:
        return False
    return True
