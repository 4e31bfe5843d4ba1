"""From what a user names to entries for the laws: an object, `module:name`, a model file, a recipe, or everything.

An object's kind is read off what it can do: a flow has `forward` and `inverse`, a model a prior and a flow, a theory
`action` and `lattice`, a kernel `init` and `step`, a prior `sample` and `log_density`, a group `compose` and `haar`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy

from haarflow import backends
from haarflow.backends.tree import tree_map
from haarflow.core.matrices import precision
from haarflow.flows.flow import Model
from haarflow.flows.judging import condition_names
from haarflow.flows.priors import Gaussian, HaarLinks, UniformLinks
from haarflow.flows.symmetries import displacement
from haarflow.own import NOTHING, Own, imported
from haarflow.verification.entry import Entry
from haarflow.verification.objects import ENTRIES

# kind -> the attributes that tell it, in the order in which they are tried
KINDS = {
    "model": ("prior", "flow"),
    "flow": ("forward", "inverse", "init"),
    "theory": ("action", "lattice", "group"),
    "kernel": ("init", "step", "values"),
    "prior": ("sample", "log_density", "lattice"),
    "group": ("compose", "inverse", "exp", "log"),
}
PRIORS = (Gaussian, UniformLinks, partial(HaarLinks, n=2), partial(HaarLinks, n=3))
LATTICES = ((4, 4), (8, 8), (4,), (4, 4, 4), (2, 2, 2, 2))


def entries(subject: Any = None, own: Own = NOTHING) -> list[Entry]:
    """Return the entries of a subject: None for all of ours, a name of ours, `module:name`, a file, a recipe, an object.

    `own` is what the command line names of one's own: it stands for None, and for what a recipe says of it.

    Raises ValueError where a word leads nowhere, TypeError for an object of no kind the laws know.

    >>> from haarflow.core.groups import U1
    >>> [entry.kind for entry in entries(U1())]
    ['group']
    """
    if subject is None:
        mine = [one for word in (own.theory, own.flow) if word for one in entries(word)]
        return mine or list(ENTRIES)
    if not isinstance(subject, str):
        return _entries_of(subject, type(subject).__name__, "my_object")
    ours = [entry for entry in ENTRIES if entry.name == subject]
    if ours:
        return ours
    source = repr(subject)
    if ":" in subject:
        return _entries_of(imported(subject), subject, source)
    return _from_file(subject, source, own)


def kind_of(obj: Any) -> str:
    """Return the kind of an object, or raise TypeError with what each kind has.

    >>> from haarflow.theories import Phi4
    >>> kind_of(Phi4((4, 4)))
    'theory'
    """
    if isinstance(obj, backends.Backend):
        return "backend"
    for kind, attributes in KINDS.items():
        if all(hasattr(obj, attribute) for attribute in attributes):
            return kind
    wanted = "; ".join(f"a {kind} has {', '.join(attributes)}" for kind, attributes in KINDS.items())
    raise TypeError(f"{type(obj).__name__} is of no kind that the laws know: {wanted}")


def _entries_of(obj: Any, name: str, source: str) -> list[Entry]:
    """An instance stands for itself on its own lattice; a class or function of a lattice is made on several."""
    if isinstance(obj, type) or (
        callable(obj) and not any(hasattr(obj, word) for word in ("forward", "action", "step"))
    ):
        lattices = tuple(lattice for lattice in LATTICES if _makes(obj, lattice))
        if not lattices:
            raise TypeError(f"{name} makes nothing on any of the lattices {LATTICES}: give an object instead")
        return [Entry(name, kind_of(obj(lattices[0])), obj, lattices, source)]
    if kind_of(obj) == "flow":
        obj = on_a_prior(obj)
    lattice = _lattice_of(obj)
    return [Entry(name, kind_of(obj), lambda lattice: obj, (lattice,), source)]


def _makes(factory: Any, lattice: tuple[int, ...]) -> bool:
    try:
        kind_of(factory(lattice))
    except (ValueError, TypeError):
        return False
    return True


def _lattice_of(obj: Any) -> tuple[int, ...]:
    """The object's own lattice, its prior's or its theory's; (4, 4) where there is none, as for a group."""
    for owner in (obj, getattr(obj, "prior", None), getattr(obj, "theory", None)):
        lattice = getattr(owner, "lattice", None)
        if lattice is not None:
            return tuple(lattice)
    return (4, 4)


def on_a_prior(flow: Any) -> Model:
    """Return a flow on the first prior it accepts: scalars, U(1), SU(2) and SU(3) links, in one to four dimensions.

    Raises TypeError where none is accepted.
    """
    host = backends.get("numpy")
    faults = []
    for prior in PRIORS:
        for lattice in LATTICES:
            try:
                model = Model(prior(lattice), flow)
                key = host.asarray([0, 0], dtype="int32")
                y, log_q = model.sample(model.init(key), key, 2)
                x, _ = flow.inverse(model.init(key), y)
            except Exception as fault:
                faults.append(f"{getattr(prior, '__name__', 'HaarLinks')}({lattice}): {fault}")
                continue
            if tuple(x.shape) == tuple(y.shape) and tuple(log_q.shape) == (2,):
                return model
    raise TypeError(
        f"{type(flow).__name__} moves no field of the priors Gaussian, UniformLinks and HaarLinks on {LATTICES}: give a "
        f"Model(prior, flow) on a lattice of its own ({faults[0]})"
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
        return tuple(getattr(self.flow, "symmetries", ()))

    @property
    def periods(self) -> tuple[int, ...]:
        """Those of the flow."""
        return tuple(getattr(self.flow, "periods", ()))

    @property
    def displacement(self) -> tuple[int, ...]:
        """That of the flow."""
        return displacement(self.flow)

    @property
    def integrated(self) -> bool:
        """Whether the flow's log-determinant is that of continuous time."""
        return getattr(self.flow, "integrated", False)

    def refined(self, factor: int) -> Fixed:
        """Return the integrated flow in `factor` times as many steps."""
        return replace(self, flow=self.flow.refined(factor))

    def init(self, key: Any, dtype: str = "float64") -> dict:
        """Return no parameters."""
        return {}

    def forward(self, params: Any, x: Any, condition: Any = None) -> tuple[Any, Any]:
        """Apply the flow with its parameters."""
        return self.flow.forward(self._on(x), x, condition)

    def inverse(self, params: Any, y: Any, condition: Any = None) -> tuple[Any, Any]:
        """Undo the flow."""
        return self.flow.inverse(self._on(y), y, condition)

    def _on(self, x: Any) -> Any:
        return tree_map(lambda leaf: backends.of(x).asarray(leaf, dtype=precision(x)), self.params)


def _from_file(name: str, source: str, own: Own) -> list[Entry]:
    """A model file or a recipe, by path or by the name of one that ships."""
    from haarflow import models, recipes

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
    from haarflow.build import model_of
    from haarflow.target import target_of

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
