"""The laws of a theory, each a public function, and the table that says how they are checked on a `Given`.

A theory that consists of a lattice, a group and an action is checked by those that apply; for every other law the table
says which part it does not declare.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy

from haarflow import backends
from haarflow.backends.tree import leaves
from haarflow.core import random
from haarflow.core.acceleration import accelerated as accelerated_theory
from haarflow.core.laws.fields import element_shape
from haarflow.core.laws.law import Given, Law, Verdict, void
from haarflow.core.laws.memory import LATTICES, remembers_nothing
from haarflow.core.parts import AngleWeight, LinkWeight, SpinWeight, described
from haarflow.theories.gauge.sun import SUNGauge
from haarflow.theories.gauge.u1 import U1Gauge
from haarflow.theories.laws import accelerated
from haarflow.theories.laws.accelerated import equals_plain
from haarflow.theories.laws.action import (
    action_values,
    batch_rows,
    density_reach,
    density_sums,
    force_by_autodiff,
    force_by_differences,
    gauge_orbit,
    link_staple,
    link_weight,
    spin_weight,
    staple_weight,
)
from haarflow.theories.laws.cases import (
    METHODS,
    FullTheory,
    check_size,
    couplings_of,
    field_of,
    is_links,
    lacks,
    lacks_weight,
    numbers_of,
    runs_here,
)
from haarflow.theories.laws.exact import (
    conjugate_observables,
    exact_by_quadrature,
    exact_by_samples,
    forms_agree,
    smallest,
    thermodynamic_identity,
)
from haarflow.theories.laws.interface import (
    border,
    compiled_as_eager,
    couplings_by_row,
    equals_numpy,
    inputs_unchanged,
    traced_once,
)
from haarflow.theories.laws.symmetry import (
    charge_of_flux,
    conjugation_invariance,
    exchange_invariance,
    gauge_invariance,
    off_the_seam,
    reflection_invariance,
    sign_invariance,
    translation_invariance,
    winding_invariance,
)
from haarflow.theories.replaced import on_lattice, weight_of
from haarflow.theories.samplers.sun import exact_sample as exact_sun
from haarflow.theories.samplers.sun import strip_for
from haarflow.theories.samplers.u1 import exact_sample
from haarflow.theories.theory import field_shape

__all__ = [
    "THEORY_LAWS",
    "action_values",
    "batch_rows",
    "border",
    "charge_of_flux",
    "compiled_as_eager",
    "conjugate_observables",
    "conjugation_invariance",
    "couplings_by_row",
    "density_reach",
    "density_sums",
    "equals_numpy",
    "equals_plain",
    "exact_by_quadrature",
    "exact_by_samples",
    "exchange_invariance",
    "force_by_autodiff",
    "force_by_differences",
    "forms_agree",
    "gauge_invariance",
    "gauge_orbit",
    "inputs_unchanged",
    "link_staple",
    "link_weight",
    "reflection_invariance",
    "remembers_nothing",
    "sign_invariance",
    "spin_weight",
    "staple_weight",
    "thermodynamic_identity",
    "traced_once",
    "translation_invariance",
    "winding_invariance",
]


def _on_a_field(law: Callable[..., Verdict]) -> Callable[[Any, Given], Verdict]:
    """The check of a law of (theory, field, couplings)."""
    return lambda theory, given: law(theory, field_of(theory, given), couplings_of(theory, given))


def _off_the_seam(law: Callable[..., Verdict]) -> Callable[[Any, Given], Verdict]:
    """The same, on fields whose charge is not at a discontinuity."""
    return lambda theory, given: law(theory, _smooth(theory, given), couplings_of(theory, given))


def _at_a_site(law: Callable[..., Verdict]) -> Callable[[Any, Given], Verdict]:
    """The check of a law of (theory, field, site, couplings)."""

    def check(theory: FullTheory, given: Given) -> Verdict:
        site = tuple(int(given.generator(3).integers(extent)) for extent in theory.lattice)
        return law(theory, field_of(theory, given), site, couplings_of(theory, given))

    return check


def _of_the_force(law: Callable[..., Verdict]) -> Callable[[Any, Given], Verdict]:
    """The same, void for a force by autodiff on a backend without it."""

    def check(theory: FullTheory, given: Given) -> Verdict:
        field = field_of(theory, given)
        if not runs_here(theory, "force", field):
            return void(law, "its force needs automatic differentiation, which this backend does not support")
        return law(theory, field, couplings_of(theory, given))

    return check


def _gauge(theory: FullTheory, given: Given) -> Verdict:
    check_size(theory, given)
    sites = given.elements(theory.group, element_shape(theory.group, (given.batch,), tuple(theory.lattice)))
    return gauge_invariance(theory, _smooth(theory, given), sites, couplings_of(theory, given))


def _winding(theory: FullTheory, given: Given) -> Verdict:
    check_size(theory, given)
    turns = given.array(given.generator(4).integers(-3, 4, (given.batch, *field_shape(theory))).astype("float64"))
    return winding_invariance(theory, _smooth(theory, given), turns, couplings_of(theory, given))


def _charge(theory: FullTheory, given: Given) -> Verdict:
    check_size(theory, given)
    highest = (numpy.prod(theory.lattice) - 1) // 2
    charge = int(given.generator(5).integers(-highest, highest + 1))
    return charge_of_flux(
        theory, given.normal((given.batch, *field_shape(theory))), charge, couplings_of(theory, given)
    )


def _quadrature(theory: Any, given: Given) -> Verdict:
    return exact_by_quadrature(smallest(theory), couplings_of(theory, given))


def _identity(theory: FullTheory, given: Given) -> Verdict:
    couplings, twin = numbers_of(theory, given), smallest(theory)
    # closed forms on the theory's own lattice, integrals on the smallest: they take seconds on larger ones
    for known in (twin, theory) if theory.group.name == "Real" else (theory, twin):
        if known is not None and "ln_Z" in known.exact(couplings):
            return thermodynamic_identity(known, couplings)
    return void(thermodynamic_identity, "its ln Z is not known")


def _forms(theory: FullTheory, given: Given) -> Verdict:
    couplings = numbers_of(theory, given)
    try:
        theory.other_form(couplings)
    except ValueError:
        couplings = dict(theory.couplings)
    return forms_agree(theory, field_of(theory, given), couplings)


def _samples(theory: FullTheory, given: Given) -> Verdict:
    """On the theory's lattice; the first time also on one that matrices are drawn for in as many stages as not there."""
    verdicts = [_drawn(theory, given)]
    weight = weight_of(theory)
    if isinstance(weight, SUNGauge) and given.seed == 0:
        stages = strip_for(weight.n, numbers_of(theory, given)["beta"], tuple(theory.lattice))
        other: Any = on_lattice(theory, (2, 4) if stages == 1 else (2, 2))
        verdicts += [] if other is None else [_drawn(other, given)]
    return max(verdicts, key=lambda verdict: verdict.ratio)


def _drawn(theory: FullTheory, given: Given) -> Verdict:
    couplings, host = numbers_of(theory, given), backends.get("numpy")
    key = random.key(given.seed, host)
    check_size(theory, replace(given, batch=1000))
    matrices = isinstance(weight_of(theory), SUNGauge)
    field = exact_sun(theory, key, 1000, couplings) if matrices else exact_sample(theory, key, 1000, couplings).field
    return exact_by_samples(theory, given.array(field), couplings)


def _memory(theory: FullTheory, given: Given) -> Verdict:
    """On lattices of one volume, then in the other precision and at other couplings."""
    couplings = numbers_of(theory, given)

    def compute(lattice: tuple[int, ...], dtype: str, factor: float) -> list[Any]:
        moved: Any = on_lattice(theory, lattice)
        values = {name: factor * value for name, value in couplings.items()}
        field = field_of(moved, replace(given, style="haar", dtype=dtype))
        names = [name for name in METHODS if runs_here(moved, name, field)]
        found = [METHODS[name](one)(field, values) for name in names for one in (moved, accelerated_theory(moved))]
        return [part for result in found for part in leaves(result)]

    lattices = [lattice for lattice in LATTICES.get(len(theory.lattice), ()) if on_lattice(theory, lattice) is not None]
    if not lattices:
        return void(remembers_nothing, "it cannot be made on another lattice")
    other = "float32" if given.dtype == "float64" else "float64"
    rows = [
        *((lattice, given.dtype, 1.0) for lattice in lattices),
        (lattices[0], other, 1.0),
        (lattices[0], given.dtype, 1.5),
    ]
    return remembers_nothing([partial(compute, *row) for row in rows], (theory,))


def _smooth(theory: FullTheory, given: Given) -> Any:
    field = field_of(theory, given)
    return off_the_seam(theory, field, given.normal(tuple(field.shape), salt=6))


def _symmetry(name: str) -> Callable[[Any], str | None]:
    def applies(theory: FullTheory) -> str | None:
        return None if name in described(theory).symmetries.words else f"it does not declare the symmetry {name!r}"

    return applies


def _both(*conditions: Callable[[Any], str | None]) -> Callable[[Any], str | None]:
    """The condition `applies` that gives the first of several reasons why a law does not apply."""
    return lambda theory: next((reason for applies in conditions if (reason := applies(theory)) is not None), None)


def _with_exact(theory: FullTheory) -> str | None:
    return lacks("exact")(theory) or (
        None if smallest(theory) is not None else "it cannot be made on a lattice of two sites"
    )


def _circle(theory: FullTheory) -> str | None:
    return None if theory.group.name == "U1" else "its field is not an angle"


def _matrices(theory: FullTheory) -> str | None:
    return None if theory.group.matrix_axes else "its field does not consist of matrices"


def _integrable(theory: FullTheory) -> str | None:
    known = theory.group.name in ("Real", "U1", "Signs")
    return _with_exact(theory) if known else "there is no quadrature over its group"


def _links(theory: FullTheory) -> str | None:
    return None if is_links(theory) else "its field does not live on links"


def _whole_charge(theory: FullTheory) -> str | None:
    return lacks("charge")(theory) or (None if len(theory.lattice) == 2 else "an integer charge needs two dimensions")


def _two_forms(theory: FullTheory) -> str | None:
    return "it has only one parameterisation" if described(theory).missing("other_form") else None


def _a_sampler(theory: FullTheory) -> str | None:
    weight = weight_of(theory)
    known = isinstance(weight, U1Gauge) or (isinstance(weight, SUNGauge) and not weight.rectangle)
    return None if known and len(theory.lattice) == 2 else "there is no exact sampler for it"


THEORY_LAWS: tuple[Law, ...] = (
    Law(action_values, _on_a_field(action_values)),
    Law(batch_rows, _on_a_field(batch_rows)),
    Law(force_by_differences, _of_the_force(force_by_differences), lacks("force")),
    Law(force_by_autodiff, _of_the_force(force_by_autodiff), lacks("force"), programs=True),
    Law(gauge_orbit, _of_the_force(gauge_orbit), _both(lacks("force"), _symmetry("gauge"), _links)),
    Law(density_sums, _on_a_field(density_sums), lacks("local")),
    Law(density_reach, _at_a_site(density_reach), lacks("local")),
    Law(link_weight, _at_a_site(link_weight), lacks_weight(AngleWeight)),
    Law(spin_weight, _at_a_site(spin_weight), lacks_weight(SpinWeight)),
    Law(link_staple, _at_a_site(link_staple), _both(_matrices, lacks_weight(LinkWeight))),
    Law(staple_weight, _on_a_field(staple_weight), lacks_weight(AngleWeight, staple=True)),
    Law(translation_invariance, _off_the_seam(translation_invariance), _symmetry("translation")),
    Law(reflection_invariance, _off_the_seam(reflection_invariance), _symmetry("reflection")),
    Law(exchange_invariance, _off_the_seam(exchange_invariance), _symmetry("hypercubic")),
    Law(sign_invariance, _off_the_seam(sign_invariance), _symmetry("Z2")),
    Law(conjugation_invariance, _off_the_seam(conjugation_invariance), _symmetry("charge_conjugation")),
    Law(gauge_invariance, _gauge, _both(_symmetry("gauge"), _links)),
    Law(winding_invariance, _winding, _circle),
    Law(charge_of_flux, _charge, _whole_charge),
    Law(exact_by_quadrature, _quadrature, _integrable),
    Law(thermodynamic_identity, _identity, _both(_with_exact, lacks("conjugates"))),
    Law(conjugate_observables, _on_a_field(conjugate_observables), lacks("conjugates")),
    Law(exact_by_samples, _samples, _a_sampler, sampled=True, shared_draws=True),
    Law(forms_agree, _forms, _two_forms),
    Law(couplings_by_row, _on_a_field(couplings_by_row), lacks("couplings"), programs=True),
    Law(traced_once, _on_a_field(traced_once), lacks("couplings")),
    Law(border, lambda theory, given: border(theory, field_of(theory, given)), lacks("check")),
    Law(inputs_unchanged, _on_a_field(inputs_unchanged)),
    Law(compiled_as_eager, _off_the_seam(compiled_as_eager), programs=True),
    Law(equals_numpy, _off_the_seam(equals_numpy)),
    Law(remembers_nothing, _memory, programs=True),
    Law(equals_plain, accelerated.check, accelerated.has_kernels, programs=True),
)
