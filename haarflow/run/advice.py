"""What to do for a flow that is hard to train: the default annealing, and the next things to try, one row each."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from haarflow.core.parts import described
from haarflow.core.spaces import Space
from haarflow.flows.images import INTERNAL
from haarflow.run.samplers import averages
from haarflow.run.settings import Recipe, Train
from haarflow.run.target import Target
from haarflow.theories.exact import u1_torus

ORDERED = 3.0  # times the coupling of plaquette 1/2, from which training of a gauge theory is annealed
ANNEALED = 2 / 3  # of the steps
WEAK = 10.0  # effective draws below which an average has no error bar
BLOCK = 4  # of the convolutional flow of U(1), where a recipe names none
CAPPED = 0.9  # the largest ESS that a definition admits, below which that is said
FAILED = 0.1  # ESS, where draws are that few, and acceptance below which a flow has failed


def half_ordered(target: Target) -> float | None:
    """Return the beta at which the plaquette of a gauge theory is about 1/2: 1 for U(1), 0.6 N^2 for SU(N); None for others."""
    spaces = described(target.theory).spaces
    if "beta" not in target.couplings or not isinstance(spaces, Space):
        return None
    if spaces.group.name == "U1":
        return 1.0
    n = getattr(spaces.group, "n", None)
    return None if n is None else 0.6 * n * n


def annealed(target: Target) -> Target:
    """Return the target with `train.anneal` from plaquette 1/2 in its recipe where a gauge theory is strongly ordered.

    That is beyond three times that coupling, for training from scratch at one coupling; the sweep flow, and one that
    starts at the closed form, are near the solution and need none. `train.anneal` in the recipe, also at the theory's own coupling, overrides it.

    >>> from haarflow.run.recipes import load
    >>> from haarflow.run.target import target_of
    >>> train = annealed(target_of(load("u1-tiny", ["theory.beta=6.0"]))).recipe.train
    >>> train.anneal, train.anneal_steps
    ({'beta': 1.0}, 133)
    """
    train, start = target.recipe.train, half_ordered(target)
    if train is None or start is None or train.anneal or train.between or train.start or train.closed_form:
        return target
    if target.couplings["beta"] <= ORDERED * start or target.recipe.flow.get("kind") == "sweep":
        return target
    steps = train.anneal_steps or max(1, round(ANNEALED * train.steps))
    train = dataclasses.replace(train, anneal={"beta": start}, anneal_steps=steps)
    return dataclasses.replace(target, recipe=dataclasses.replace(target.recipe, train=train))


class Try(NamedTuple):
    """A thing to try: the part of the recipe it changes, when it applies, and the words."""

    part: str
    applies: Callable[[Target, Any], bool]
    words: Callable[[Target, Any], str]


# family of theories, number of dimensions (0: any) -> kinds of flows, the most promising first
KINDS: dict[tuple[str, int], tuple[str, ...]] = {
    ("u1", 2): ("sweep", "convolutional"),
    ("u1", 0): ("convolutional", "stripes"),
    ("sun", 2): ("sweep", "loops"),
    ("sun", 0): ("loops", "trivialising"),
    ("phi4", 0): ("convolutional", "copula"),
}


def _anneals_beta(target: Target, train: Train) -> bool:
    return half_ordered(target) is not None and not (train.anneal or train.between)


def _anneals_wells(target: Target, train: Train) -> bool:
    return target.couplings.get("m2", 0.0) < 0.0 and not (train.anneal or train.between)


TRIES: tuple[Try, ...] = (
    Try("train", lambda _, train: bool(train.start), lambda _, train: f"a smaller rate, train.lr={train.lr / 10:g}"),
    Try(
        "train",
        _anneals_beta,
        lambda target, _: (
            f"annealing, train.anneal.beta={min(half_ordered(target) or 0.0, target.couplings['beta'] / 2):g}"
        ),
    ),
    Try("train", _anneals_wells, lambda *_: "annealing from one well, train.anneal.m2=0"),
    Try("train", lambda *_: True, lambda _, train: f"more steps, train.steps={4 * train.steps}"),
    Try("train", lambda *_: True, lambda _, train: f"a larger batch, train.batch={2 * train.batch}"),
    Try(
        "fit",
        lambda *_: True,
        lambda target, _: f"longer loops, flow.order={int(target.recipe.flow.get('order', 1)) + 1}",
    ),
    Try("fit", lambda _, fit: fit.samples > 0, lambda _, fit: f"more samples, fit.samples={4 * fit.samples}"),
    Try(
        "model",
        lambda *_: True,
        lambda *_: "a model trained at these couplings, or fine-tuning it here with train.start",
    ),
)


def next_things(target: Target) -> str:
    """Return the next things to try for the theory and the flow of a recipe, in words.

    >>> from haarflow.run.recipes import load
    >>> from haarflow.run.target import target_of
    >>> next_things(target_of(load("u1-tiny")))
    'try annealing, train.anneal.beta=0.5; more steps, train.steps=800; a larger batch, train.batch=128; another kind, flow.kind=sweep'
    """
    recipe = target.recipe
    parts: dict[str, Any] = {"train": recipe.train, "fit": recipe.fit, "model": recipe.model}
    said = [
        one.words(target, parts[one.part]) for one in TRIES if parts[one.part] and one.applies(target, parts[one.part])
    ]
    return "try " + (
        "; ".join([*said, *_another_kind(recipe, target.row.family)]) or "more draws"
    )  # of an untrained flow


def _another_kind(recipe: Recipe, family: str) -> list[str]:
    kinds = KINDS.get((family, len(recipe.lattice))) or KINDS.get((family, 0), ())
    other = next((kind for kind in kinds if kind != recipe.flow.get("kind")), None)
    return [f"another kind, flow.kind={other}"] if other and recipe.flow else []


def too_few(samples: int, ess: float | None) -> str:
    """Return that there are too few effective draws, where that is not the flow's fault; nothing else.

    >>> too_few(8, 1.0)
    'too few draws: 8.0 effective ones of 8, below 10; draw more'
    """
    if ess is None or ess * samples >= WEAK or ess < FAILED:
        return ""
    return f"too few draws: {ess * samples:.1f} effective ones of {samples:,}, below {WEAK:.0f}; draw more"


def cap_of(target: Target) -> float:
    """Return the ESS that the definition of a coarse-to-fine flow of U(1) admits in two dimensions; 1 for other flows."""
    flow, lattice = target.recipe.flow, target.recipe.lattice
    if target.name != "u1" or flow.get("kind") != "convolutional" or len(lattice) != 2:
        return 1.0
    block = int(flow.get("block", BLOCK))
    # a block that does not fill the lattice is refused by its masks
    fills = block >= 1 and not any(extent % block for extent in lattice)
    return u1_torus.ess_blocks(target.couplings["beta"], math.prod(lattice), block) if fills else 1.0


def capped(target: Target) -> str:
    """Return that a flow's definition caps its ESS below CAPPED, and the block that does not; nothing where it does not cap it.

    >>> from haarflow.run.recipes import load
    >>> from haarflow.run.target import target_of
    >>> capped(target_of(load("u1-2d"))), capped(target_of(load("u1-2d", ["theory.beta=5.0", "lattice=[16,16]"])))
    ('', 'flow.block=4 leaves the fluxes of 4x4 blocks uniform, which caps the ESS at 0.43 at beta = 5 on 16x16, whatever the training: take flow.block=8')
    """
    cap, lattice = cap_of(target), target.recipe.lattice
    if cap >= CAPPED:
        return ""
    block = int(target.recipe.flow.get("block", BLOCK))
    sizes = [size for k in range(1, 31) if not any(extent % (size := 2**k * block) for extent in lattice)]
    beta, sites = target.couplings["beta"], math.prod(lattice)
    better = [size for size in sizes if u1_torus.ess_blocks(beta, sites, size) >= CAPPED]
    return (
        f"flow.block={block} leaves the fluxes of {block}x{block} blocks uniform, which caps the ESS at {cap:.2g} at beta = {beta:g} on "
        f"{'x'.join(map(str, lattice))}, whatever the training: take {f'flow.block={better[0]}' if better else 'flow.kind=sweep'}"
    )


def refuse_hopeless(target: Target) -> None:
    """Raise ValueError for a flow whose definition caps its ESS below FAILED."""
    if cap_of(target) < FAILED:
        raise ValueError(capped(target))


def against_collapse(target: Target, sampler: str) -> str:
    """Return what to try for a flow that draws from one of several modes, nothing for a model that the recipe opens.

    >>> from haarflow.run.recipes import load
    >>> from haarflow.run.target import target_of
    >>> against_collapse(target_of(load("phi4-2d")), "hmc")
    "try flow.symmetrised=['Z2'], a mixture, flow.mixture=2, or training on the target, train.estimator=forward-kl"
    """
    recipe = target.recipe
    if not averages(recipe.samplers.get(sampler)):
        return f"samplers.{sampler}.symmetrised=false leaves out the average of the density over symmetries"
    if recipe.train is None:
        return ""
    offered = [name for name in INTERNAL if name in described(target.theory).symmetries.words]
    missing = [name for name in offered if name not in recipe.flow.get("symmetrised", ())]
    first = [f"flow.symmetrised={missing}"] if missing else []
    return (
        f"try {', '.join([*first, 'a mixture, flow.mixture=2'])}, or training on the target, train.estimator=forward-kl"
    )


def failure(samples: int, ess: float | None, acceptance: float | None) -> str:
    """Return in which way a flow's draws have failed, nothing if they have not or are too few to tell.

    >>> failure(1000, 0.002, None)
    'the flow has failed: 2.0 effective draws of 1,000'
    """
    if too_few(samples, ess):
        return ""
    if ess is not None and ess * samples < WEAK:
        return f"the flow has failed: {ess * samples:.1f} effective draws of {samples:,}"
    if acceptance is not None and acceptance < FAILED:
        return f"the flow has failed: only {acceptance:.1%} of its proposals are accepted"
    return ""


def said(target: Target, samples: int, ess: float | None, acceptance: float | None) -> list[str]:
    """Return what is to be said of the number and the quality of a flow's draws, with what to do, one sentence at most."""
    if failed := failure(samples, ess, acceptance):
        return [f"{failed}; {next_things(target)}"]
    return [few] if (few := too_few(samples, ess)) else []
