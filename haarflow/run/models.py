"""Opens the model that a recipe names, on the recipe's lattice."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from haarflow.flows.catalogue import constructor
from haarflow.flows.flow import Model
from haarflow.flows.modelfile import ModelFileError, OpenedModel, flow_of, open_model, read_card
from haarflow.flows.traits import traits
from haarflow.models import path_of
from haarflow.run.own import NOTHING, Own
from haarflow.run.target import Target


def opened_model(name: str, target: Target | None = None, own: Own = NOTHING) -> OpenedModel:
    """Return the model that a recipe names, on NumPy and on the recipe's lattice; without a target on its own.

    A model of a custom flow is made by the function that `own` names, with the options on its card. Raises
    ModelFileError for a model of another theory, and for one whose custom flow the command line does not name.
    """
    path, theory, lattice = path_of(name), None, None
    if target is not None:
        theory, lattice = target.name, target.recipe.lattice
    definition = _of_own_flow(path, lattice, own) if own.flow else None
    try:
        return open_model(path, definition=definition, theory=theory, lattice=lattice)
    except ModelFileError as error:
        kind = str(flow_of(read_card(path)["card"]).get("kind"))
        if ":" not in kind or kind == own.flow:
            raise
        raise ModelFileError(f"{error}; its flow is a custom one: add --flow {kind} to the command") from None


def carried(name: str, card: Mapping[str, Any], target: Target) -> str | None:
    """Return the words for a model that its card says was trained on another lattice or at other couplings, None for one at home.

    >>> from haarflow.run.recipes import load
    >>> from haarflow.run.target import target_of
    >>> carried("m", {"theory": {"lattice": [4, 4], "couplings": {"m2": -4.0, "lam": 6.0}}}, target_of(load("phi4-2d")))
    'm, trained on 4x4 at lam = 6, draws on 8x8 at lam = 8: its weights are exact here too, but its ESS falls with distance; train.start retunes it'
    """
    theory = card.get("theory")
    theory = theory if isinstance(theory, dict) else {}
    there, here = tuple(theory.get("lattice") or ()), tuple(target.recipe.lattice)
    known = dict(theory.get("couplings") or {})
    own = {word: value for word, value in known.items() if word not in card.get("condition", ())}
    other = [word for word, value in target.couplings.items() if not math.isclose(own.get(word, value), value)]
    if not there or (there == here and not other):
        return None
    places = [
        "x".join(map(str, lattice))
        + (" at " + ", ".join(f"{word} = {values[word]:g}" for word in other) if other else "")
        for lattice, values in ((there, known), (here, target.couplings))
    ]
    return (
        f"{name}, trained on {places[0]}, draws on {places[1]}: its weights are exact here too, but its ESS falls with distance; "
        "train.start retunes it"
    )


def trained_between(card: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Return the range of each coupling that a conditioned model was trained or fitted for, as far as its card says.

    >>> trained_between({"condition": ["beta"], "fit": {"couplings": [0.0, 3.0, 6.0]}})
    {'beta': (0.0, 6.0)}
    """
    training = card.get("training") or {}
    ranges = dict(training.get("between") or {})
    values = (card.get("fit") or {}).get("couplings") or [0.0, *training.get("betas", ())]
    if len(values) > 1:
        ranges.setdefault("beta", values)  # a flow along loops, which starts from beta = 0
    return {
        name: (float(min(ranges[name])), float(max(ranges[name])))
        for name in card.get("condition", ())
        if name in ranges
    }


def refuse_extrapolation(name: str, card: Mapping[str, Any], couplings: Mapping[str, float]) -> None:
    """Raise ValueError for couplings outside the range that a conditioned model was trained for."""
    for coupling, (low, high) in trained_between(card).items():
        value, slack = couplings[coupling], 1e-9 * max(abs(low), abs(high))
        if not low - slack <= value <= high + slack:
            raise ValueError(
                f"the model {name} was trained for {coupling} from {low:g} to {high:g}, and {coupling} = {value:g} lies outside, where "
                "its flow may be far from the target: train it there, or set extrapolate=true to use it all the same"
            )


def refuse_other_couplings(name: str, flow: Any, couplings: Mapping[str, float]) -> None:
    """Raise ValueError for couplings other than those by which a flow is defined."""
    for coupling, value in (traits(flow).fixed or {}).items():
        wanted = couplings.get(coupling, value)
        if not math.isclose(wanted, value, rel_tol=1e-9):
            raise ValueError(
                f"the model {name} was made for {coupling} = {value:g}, and at {coupling} = {wanted:g} its weights stay exact but "
                "spread: make one there by [flow], or set extrapolate=true to use it all the same"
            )


def refuse_other_factors(flow: Any, hasenbusch: tuple[float, ...]) -> None:
    """Raise ValueError for a flow that says that its pseudofermions are of other factors than the theory's."""
    own = traits(flow).hasenbusch
    if own is None or (len(own) == len(hasenbusch) and all(map(math.isclose, own, hasenbusch))):
        return
    ours, theirs = (", ".join(f"{k:g}" for k in masses) or "none" for masses in (own, hasenbusch))
    raise ValueError(
        f"the flow's pseudofermions have Hasenbusch's hopping parameters {ours}, those of the theory {theirs}: give theory.hasenbusch the "
        "flow's, or make a flow of kind loops-hopping for those of the theory"
    )


def _of_own_flow(path: Path, lattice: tuple[int, ...] | None, own: Own) -> Model | None:
    card = read_card(path)["card"]
    flow = flow_of(card)
    if flow.pop("kind", None) != own.flow:
        return None
    options = {name: tuple(value) if isinstance(value, list) else value for name, value in flow.items()}
    model: Model = constructor(own.flows("")[own.flow])(lattice or tuple(card["theory"]["lattice"]), **options)
    return model
