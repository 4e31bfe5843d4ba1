"""The errors of a recipe that involve more than one of its tables."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from haarflow.core.chains.warmup import LEAST
from haarflow.run.kernels import KERNELS, hits_of
from haarflow.run.own import Own
from haarflow.run.recipes.faults import Errors, hint
from haarflow.run.sampler_settings import ReplicaExchange
from haarflow.run.samplers import kernels_of, needs_flow, row_of, rungs_of, target_acceptance
from haarflow.run.settings import Fit, Recipe, Thermodynamics, Train
from haarflow.theories import catalogue

SITES = 1 << 31  # an index of a site has 32 bits
FLUXES = ("u1", "schwinger")  # families of theories whose links are angles


def between_tables(recipe: Recipe, own: Own) -> Errors:
    """The errors that involve more than one table."""
    errors = Errors()
    needs_model = [name for name, entry in recipe.samplers.items() if needs_flow(entry) and not entry.model]
    if needs_model and not recipe.model and not recipe.flow:
        errors.append(
            f"samplers.{needs_model[0]} needs a flow: add [flow] with its kind and [train], or model with a trained one"
        )
    if recipe.model and recipe.flow:
        errors.append(
            "model and flow exclude each other: a recipe opens a model or trains a flow; add flow=false train=false to open the model"
        )
    if recipe.flow and recipe.train is None and recipe.fit is None and not _untrained(recipe, own):
        errors.append("train is missing: a recipe with [flow] needs [train], or [fit] for a flow along loops")
    if recipe.fit is not None:
        errors += _fit_errors(recipe, recipe.fit)
    if recipe.thermodynamics is not None:
        errors += _thermodynamics_errors(recipe, recipe.thermodynamics)
    errors += [line for name, entry in recipe.samplers.items() for line in _tuning_errors(name, entry)]
    errors += [line for name, entry in recipe.samplers.items() for line in _hits_errors(recipe, name, entry)]
    errors += [line for name, entry in recipe.samplers.items() for line in _ladder_errors(recipe, name, entry)]
    errors += _theory_errors(recipe, recipe.theory.row)
    if recipe.train is not None:
        errors += _training_errors(recipe.train, recipe.theory.row.couplings)
        errors += _range_errors(recipe, recipe.train)
        errors += _chain_errors(recipe, recipe.train)
        errors += _closed_form_errors(recipe, recipe.train)
        errors += _spread_errors(recipe, recipe.train)
    return errors


def _thermodynamics_errors(recipe: Recipe, words: Thermodynamics) -> Errors:
    """The errors of the points at which ln Z is wanted."""
    couplings, errors = recipe.theory.row.couplings, Errors()
    if bool(words.extents) == bool(words.along) or len(words.along) > 1:
        errors.append("thermodynamics wants either extents or along with one coupling")
    if words.extents and len(recipe.lattice) < 2:
        errors.append(
            f"thermodynamics.extents: a time and an axis of space wanted, got the lattice {list(recipe.lattice)}"
        )
    if unknown := [name for name in (*words.along, *words.first) if name not in couplings]:
        errors.append(f"thermodynamics: there is no coupling {unknown[0]!r:.80}; there are {', '.join(couplings)}")
    errors += [
        f"thermodynamics.along.{name}: increasing values wanted, got {list(values)}"
        for name, values in words.along.items()
        if any(b <= a for a, b in pairwise(values))
    ]
    if words.draws and not (recipe.flow or recipe.model):
        errors.append("thermodynamics.draws are of a flow, and there is none: add [flow] or a model, or set draws = 0")
    chains = [name for name, entry in recipe.samplers.items() if _is_plain_chain(entry)]
    if words.first and (not chains or (words.sampler and words.sampler not in chains)):
        errors.append(
            f"thermodynamics.first: no chain sampler {words.sampler or '[samplers.hmc]'} is there to integrate: add one"
        )
    if not words.draws and not words.first:
        errors.append("thermodynamics: nothing gives ln Z: set draws of a flow, or first for chains that integrate")
    return errors


def _is_plain_chain(entry: Any) -> bool:
    """Whether a sampler is a Markov chain that needs no flow and no ladder."""
    return row_of(entry).draws == "chain" and not needs_flow(entry) and not rungs_of(entry)


def _untrained(recipe: Recipe, own: Own) -> bool:
    """Whether the recipe's flow is a sampler without training."""
    row = own.flows(recipe.theory.row.family).get(str(recipe.flow.get("kind")))
    return row is not None and row.untrained


def _tuning_errors(name: str, entry: Any) -> Errors:
    """The errors of a sampler whose warm-up is to tune the step size."""
    if not target_acceptance(entry):
        return []
    if not {"hmc", "pseudofermions"} & set(kernels_of(entry)):
        return [f"samplers.{name}.target_acceptance tunes HMC: add hmc to samplers.{name}.kernels, or remove it"]
    if entry.warmup < LEAST:
        return [
            f"samplers.{name}.warmup must be {LEAST} or more to tune the step size to target_acceptance, got {entry.warmup}"
        ]
    return []


def _hits_errors(recipe: Recipe, name: str, entry: Any) -> Errors:
    """The error of a sampler with flux hits where there is no flux."""
    fluxes = recipe.theory.row.family in FLUXES and len(recipe.lattice) == 2
    if not hits_of(entry) or fluxes:
        return []
    return [
        f"samplers.{name}.hits: flux hits are for U(1) links in two dimensions, got {recipe.theory.name} on "
        f"{list(recipe.lattice)}: remove them"
    ]


def _ladder_errors(recipe: Recipe, name: str, entry: Any) -> Errors:
    """The errors of a ladder of couplings."""
    if not isinstance(entry, ReplicaExchange):
        return []
    ladder, where = entry.ladder, f"samplers.{name}.ladder"
    unknown = [word for word in ladder if word not in recipe.theory.row.couplings]
    if unknown or not ladder:
        said = f"there is no coupling {unknown[0]!r:.80}" if unknown else "it is missing"
        return [f"{where}: {said}; name couplings of the replicas, from {', '.join(recipe.theory.row.couplings)}"]
    if len(set(map(len, ladder.values()))) != 1 or rungs_of(entry) < 2:
        return [f"{where}: two replicas or more, each with all couplings, wanted, got {dict(ladder)}"]
    own = {word: getattr(recipe.theory, word) for word in ladder}
    if tuple(own.values()) not in zip(*ladder.values(), strict=True):
        said = ", ".join(f"{word} = {value:g}" for word, value in own.items())
        return [f"{where} does not contain theory's {said}, at which the recipe's numbers are taken: add it"]
    return []


def _theory_errors(recipe: Recipe, row: catalogue.Row) -> list[str]:
    """The errors of samplers, couplings and lattice that the theory does not admit."""
    errors = [
        f"samplers.{name}: {_not_admitted(word, recipe.theory.name, row)}"
        for name, entry in recipe.samplers.items()
        for word in dict.fromkeys(kernels_of(entry))
        if KERNELS[word].admitted_as not in row.samplers
    ]
    wrong = row.fault and row.fault({name: getattr(recipe.theory, name) for name in row.couplings})
    if wrong:
        errors.append(f"theory.{wrong[0]}: {wrong[1]}")
    if math.prod(recipe.lattice) > SITES:
        errors.append(f"lattice has {math.prod(recipe.lattice)} sites, at most {SITES} are possible")
    if len(recipe.lattice) < row.dimensions:
        few = {2: "two"}.get(row.dimensions, str(row.dimensions))
        errors.append(f"lattice: the {row.title} needs {few} or more extents, got {list(recipe.lattice)}")
    return errors


def _not_admitted(word: str, name: str, row: catalogue.Row) -> str:
    """Why a theory does not admit a kernel, and which theories or kernels there are instead."""
    admitting = [other for other, entry in catalogue.THEORIES.items() if word in entry.samplers]
    if word == "heatbath" and admitting:
        return f"a heat bath exists for gauge theories and spins only: {', '.join(admitting)}"
    return f"{name} does not admit {word}; it admits {', '.join(row.samplers)}"


def _training_errors(train: Train, couplings: Iterable[str]) -> list[str]:
    """The errors of the couplings that [train] names."""
    errors = [
        f"train.{table}.{name}: there is no such coupling{hint(name, couplings) or '; there are ' + ', '.join(couplings)}"
        for table, values in (("anneal", train.anneal), ("between", train.between))
        for name in values
        if name not in couplings
    ]
    if train.anneal and train.between:
        errors.append("train.anneal and train.between exclude each other: use one of them")
    return errors


def _range_errors(recipe: Recipe, train: Train) -> list[str]:
    """The couplings of [theory] for which a conditioned flow would not be trained."""
    return [
        f"train.between.{name} = {list(ends)} does not contain theory.{name} = {value:g}, where the flow will draw: widen it, or set "
        "extrapolate=true"
        for name, ends in train.between.items()
        if (value := getattr(recipe.theory, name, None)) is not None
        and not min(ends) <= value <= max(ends)
        and not recipe.extrapolate
    ]


def _chain_errors(recipe: Recipe, train: Train) -> list[str]:
    """The errors of a training on configurations of a Markov chain."""
    chains = [name for name, entry in recipe.samplers.items() if not needs_flow(entry)]
    if train.estimator != "forward-kl":
        said = f"train.images is of train.estimator = 'forward-kl', got {train.estimator!r}: set train.images = false"
        return [said] if train.images else []
    errors = [
        "train.estimator = 'forward-kl' learns from draws at the theory's couplings: remove train.anneal and train.between"
    ]
    errors = errors if train.anneal or train.between else []
    if not chains:
        return [
            *errors,
            "train.estimator = 'forward-kl' learns from a Markov chain: add a chain sampler, such as [samplers.hmc]",
        ]
    if train.chain and train.chain not in chains:
        errors.append(
            f"train.chain: {train.chain!r:.80} is no chain sampler{hint(train.chain, chains)}; there are {', '.join(chains)}"
        )
    return errors


def _closed_form_errors(recipe: Recipe, train: Train) -> Errors:
    """The errors of a training that starts at the closed form of divisions of flux."""
    if not train.closed_form:
        return [] if train.steps else ["train.steps must be 1 or more, or 0 with train.closed_form, got 0"]
    divided = recipe.theory.name == "u1" and recipe.flow.get("kind") == "convolutional"
    if not divided or not recipe.flow.get("conditioned", True):
        return [
            "train.closed_form is for the flow of U(1) that divides fluxes which it knows, flow.kind = 'convolutional' with "
            "flow.conditioned = true: set it to 0"
        ]
    if recipe.flow.get("mixture", 1) > 1:
        return ["train.closed_form starts all models of a mixture alike: remove flow.mixture"]
    if train.start or train.anneal or train.between:
        return ["train.closed_form excludes train.start, train.anneal and train.between: it starts at theory.beta"]
    return []


def _spread_errors(recipe: Recipe, train: Train) -> list[str]:
    """The errors of a training by the spread of log w of one flow's own draws."""
    if train.method != "least-spread":
        return []
    asked = {
        "train.estimator": train.estimator != "reverse-kl",
        "train.between": bool(train.between),
        "train.symmetrised": train.symmetrised,
        "flow.mixture": recipe.flow.get("mixture", 1) > 1,
    }
    return [
        f"train.method = 'least-spread' fits one flow to its own draws at one set of couplings: remove {name}"
        for name, wrong in asked.items()
        if wrong
    ]


def _fit_errors(recipe: Recipe, fit: Fit) -> list[str]:
    """The errors of [fit], which is for flows along loops and excludes [train]."""
    errors = []
    if recipe.flow.get("kind") != "loops":
        errors.append(f"fit needs flow.kind = 'loops', got {recipe.flow.get('kind')!r}: train other flows with [train]")
    if recipe.train is not None:
        errors.append("fit and train exclude each other: use one of them")
    if fit.samples == 1:
        errors.append("fit.samples must be 2 or more, or 0 for no fit: a single configuration has no variance")
    if fit.lattice and len(fit.lattice) != len(recipe.lattice):
        errors.append(
            f"fit.lattice must have {len(recipe.lattice)} extents, as the lattice has, got {list(fit.lattice)}"
        )
    return errors
