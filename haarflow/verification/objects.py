"""The objects that `haarflow verify` checks by default, and the laws of each kind: two literal tables.

A new object of the library is one line in the table of its layer; a missing one fails the coverage statement.
"""

from __future__ import annotations

from haarflow.core.laws import tables as core_laws
from haarflow.core.laws.estimators import ESTIMATOR_LAWS
from haarflow.core.laws.law import Law
from haarflow.core.laws.operators.tables import OPERATOR_LAWS
from haarflow.flows.laws import tables as flow_laws
from haarflow.flows.laws.densities import DENSITY_LAWS
from haarflow.flows.laws.paths import PATH_LAWS
from haarflow.flows.laws.weights import WEIGHT_LAWS
from haarflow.theories.laws import tables as theory_laws
from haarflow.theories.laws.determinant import DETERMINANT_LAWS
from haarflow.theories.laws.fermions import FERMION_LAWS
from haarflow.theories.laws.pairs import PAIR_LAWS
from haarflow.verification.core_objects import CORE_ENTRIES
from haarflow.verification.entry import Entry
from haarflow.verification.fermion_objects import FERMION_ENTRIES
from haarflow.verification.flow_objects import FLOW_ENTRIES
from haarflow.verification.pair_kernels import PAIR_KERNEL_ENTRIES
from haarflow.verification.pair_objects import PAIR_ENTRIES
from haarflow.verification.path_objects import PATH_ENTRIES
from haarflow.verification.solver_objects import SOLVER_ENTRIES
from haarflow.verification.theory_objects import DETERMINANT_ENTRIES, OPERATOR_ENTRIES, THEORY_ENTRIES
from haarflow.verification.weight_objects import DENSITY_ENTRIES, ESTIMATOR_ENTRIES, WEIGHT_ENTRIES

LAWS: dict[str, tuple[Law, ...]] = {
    "backend": core_laws.BACKEND_LAWS,
    "random": core_laws.RANDOM_LAWS,
    "group": core_laws.GROUP_LAWS,
    "solver": core_laws.SOLVER_LAWS,
    "kernel": core_laws.KERNEL_LAWS,
    "theory": theory_laws.THEORY_LAWS,
    "operator": (*OPERATOR_LAWS, *FERMION_LAWS),
    "determinant": DETERMINANT_LAWS,
    "pairs": PAIR_LAWS,
    "prior": flow_laws.PRIOR_LAWS,
    "model": flow_laws.MODEL_LAWS,
    "density": DENSITY_LAWS,
    "weights": WEIGHT_LAWS,
    "path": PATH_LAWS,
    "estimator": ESTIMATOR_LAWS,
}
ENTRIES: tuple[Entry, ...] = (
    *CORE_ENTRIES,
    *SOLVER_ENTRIES,
    *THEORY_ENTRIES,
    *OPERATOR_ENTRIES,
    *DETERMINANT_ENTRIES,
    *FERMION_ENTRIES,
    *FLOW_ENTRIES,
    *PAIR_ENTRIES,
    *DENSITY_ENTRIES,
    *WEIGHT_ENTRIES,
    *PATH_ENTRIES,
    *ESTIMATOR_ENTRIES,
    *PAIR_KERNEL_ENTRIES,
)
