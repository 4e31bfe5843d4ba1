"""Mixtures of models, q(y) = sum_k w_k q_k(y), such as one for each mode, and models averaged over a group of symmetries.

The density of a draw is that of the mixture, whichever component it came from: only then do weights p/q give unbiased averages.
A mixture of symmetrised models is the symmetrised mixture. Source: arXiv:2107.00734.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from array_api_compat import array_namespace

from haarflow.backends.types import Array, Condition, Group, Key, Params
from haarflow.core import random
from haarflow.flows.flow import Model
from haarflow.flows.images import Images, chosen
from haarflow.flows.proposals import log_mean_exp
from haarflow.flows.symmetries import common
from haarflow.flows.traits import traits

COMPONENT = 0x6D697874  # folded into the key of a draw for the choice of its component


@dataclass(frozen=True)
class Mixture:
    """Models of the same fields with weights that sum to one, by default equal; parameters {"0": ..., "1": ...}.

    A draw costs one of each component, and its density one inverse pass of each. Raises ValueError for no models, for models of
    different fields, for a flow integrated in continuous time, and for weights that are not positive or do not sum to one.

    >>> from haarflow.backends import numpy as backend
    >>> from haarflow.flows.priors import Gaussian
    >>> from haarflow.flows.scalar.shift import UniformShift
    >>> two = Mixture(tuple(Model(Gaussian((2, 2)), UniformShift(2, v)) for v in (-3.0, 3.0)))
    >>> y, log_q = two.sample(two.init(random.key(0, backend)), random.key(1, backend), 5)
    >>> y.shape, log_q.shape, two.lattice
    ((5, 2, 2), (5,), (2, 2))
    """

    models: tuple[Model, ...]
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "models", tuple(self.models))
        object.__setattr__(self, "weights", tuple(self.weights) or (1.0 / max(len(self.models), 1),) * len(self.models))
        if not self.models:
            raise ValueError("a mixture has at least one model, got none")
        fields = {(model.group, model.field_shape) for model in self.models}
        if len(fields) > 1:
            raise ValueError(
                f"the models of a mixture have fields of the same shape, got {sorted(shape for _, shape in fields)}"
            )
        if any(traits(model.flow).integrated for model in self.models):
            raise ValueError(
                "a mixture needs exact densities, and a flow in continuous time has none: take scheme='masked'"
            )
        right = len(self.weights) == len(self.models) and min(self.weights) > 0.0
        if not right or not math.isclose(sum(self.weights), 1.0, rel_tol=1e-9):
            raise ValueError(f"{len(self.models)} positive weights that sum to one wanted, got {self.weights}")

    @property
    def lattice(self) -> tuple[int, ...]:
        """The lattice of the fields."""
        return self.models[0].lattice

    @property
    def group(self) -> Group:
        """The group of the fields."""
        return self.models[0].group

    @property
    def field_shape(self) -> tuple[int, ...]:
        """The shape of one configuration."""
        return self.models[0].field_shape

    @property
    def symmetries(self) -> tuple[str, ...]:
        """The symmetries of all components."""
        return common(self.models)

    def init(self, key: Key, dtype: str = "float64") -> Params:
        """Return fresh parameters of every component, each drawn with a separate key."""
        return {str(k): model.init(random.fold_in(key, k), dtype) for k, model in enumerate(self.models)}

    def sample(self, params: Params, key: Key, n: int, condition: Condition = None) -> tuple[Array, Array]:
        """Return n fields `(n, *field_shape)` and the log-densities of the mixture `(n,)`."""
        drawn = [
            model.sample(params[str(k)], random.fold_in(key, k), n, condition)[0] for k, model in enumerate(self.models)
        ]
        y = chosen(array_namespace(key).stack(drawn, axis=0), random.fold_in(key, COMPONENT), self.weights)
        return y, self.log_density(params, y, condition)

    def log_density(self, params: Params, y: Array, condition: Condition = None) -> Array:
        """Return ln sum_k w_k q_k(y) `(*batch,)`."""
        count = len(self.models)
        rows = [
            model.log_density(params[str(k)], y, condition) + math.log(count * weight)
            for k, (model, weight) in enumerate(zip(self.models, self.weights, strict=True))
        ]
        return log_mean_exp(array_namespace(y).stack(rows, axis=0))


AnyModel = Model | Mixture


def components(model: AnyModel) -> tuple[Model, ...]:
    """Return the models of a mixture, and a model itself.

    >>> from haarflow.flows.priors import Gaussian
    >>> from haarflow.flows.scalar.shift import UniformShift
    >>> len(components(Model(Gaussian((2,)), UniformShift(1))))
    1
    """
    return model.models if isinstance(model, Mixture) else (model,)


def parameters(model: AnyModel, params: Params) -> tuple[Params, ...]:
    """Return the parameters of each of the components."""
    return tuple(params[str(k)] for k in range(len(model.models))) if isinstance(model, Mixture) else (params,)


def on_components(change: Callable[[Model], Model], model: AnyModel) -> AnyModel:
    """Return a model changed, or a mixture with all its components changed."""
    return replace(model, models=tuple(map(change, model.models))) if isinstance(model, Mixture) else change(model)


def symmetrised(model: AnyModel, internal: tuple[str, ...]) -> AnyModel:
    """Return a model whose density is averaged over internal symmetries, beside those that it is averaged over already.

    >>> from haarflow.flows.priors import Gaussian
    >>> from haarflow.flows.scalar.shift import UniformShift
    >>> symmetrised(Model(Gaussian((2, 2)), UniformShift(2)), ("Z2",)).images
    Images(steps=(0, 0), reflected=(), internal=('Z2',))
    """

    def averaged(one: Model) -> Model:
        images = one.images or Images((0,) * len(one.prior.lattice))
        return replace(one, images=replace(images, internal=(*images.internal, *internal)))

    return on_components(averaged, model)


def bare(model: AnyModel) -> AnyModel:
    """Return a model without its average over images: the density of its flow alone, at the price of one image."""
    if all(one.images is None for one in components(model)):
        return model
    return on_components(lambda one: replace(one, images=None), model)


def mixed(make: Callable[[], Model], count: int) -> AnyModel:
    """Return an equal mixture of `count` models of one kind, for 1 the model itself. Raises ValueError for a count below 1."""
    if count < 1:
        raise ValueError(f"a mixture has at least one model, got {count}")
    return make() if count == 1 else Mixture(tuple(make() for _ in range(count)))
