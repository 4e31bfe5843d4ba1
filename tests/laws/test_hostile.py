"""Objects on backends at their least forgiving: PyTorch traced as one graph, JAX without compilation.

`torch.compile(backend="eager", fullgraph=True)` fails on any graph break: a call of NumPy, a branch on a value, a
backend looked up from an array. `jax.disable_jit` runs every scan as a Python loop and every operation by itself.
"""

import sys
from dataclasses import dataclass
from typing import Any

import numpy
import pytest

from haarflow.core.laws.law import Given
from haarflow.flows.laws.cache import remembering
from haarflow.verification.core_objects import KERNELS
from haarflow.verification.harness import check
from haarflow.verification.objects import ENTRIES, LAWS
from tests.conftest import member

OBJECTS = {entry.name: entry for entry in ENTRIES if entry.kind in ("theory", "model")}
METHODS = ("action", "force", "density", "observables")
FEW = ("phi^4 d=2", "U(1) d=2", "gauge coupling, noncompact", "affine coupling", "quartic tail")
REST = [name for name in OBJECTS if name not in FEW]
BY_NAME = {(kind, law.name): law for kind in ("theory", "model", "kernel") for law in LAWS[kind]}


@dataclass(frozen=True)
class WholeGraph:
    """A theory whose methods are each traced as one graph."""

    theory: Any
    jit: Any

    def __getattr__(self, name):
        found = getattr(self.theory, name)
        if name not in METHODS:
            return found
        traced = self.jit(found)  # only for tensors: a law also evaluates the same object on NumPy
        return lambda field, *rest: (found if isinstance(field, numpy.ndarray) else traced)(field, *rest)


def one_graph(name):
    entry, backend = OBJECTS[name], member("torch-compile")
    sys.modules["torch"]._dynamo.reset()  # PyTorch limits how often one function may be traced in a process
    given = Given(entry.lattices[0], backend=backend)
    obj = entry.make(given.lattice)
    if entry.kind == "theory":
        assert BY_NAME["theory", "equals_numpy"].verdict(WholeGraph(obj, backend.jit), given).passed
        return
    for law in ("round_trip", "equals_numpy"):
        assert BY_NAME["model", law].verdict(obj, given).passed


@pytest.mark.engines
@pytest.mark.parametrize("name", FEW)
def test_torch_traces_one_graph(name):
    one_graph(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", REST)
def test_torch_traces_one_graph_of_everything(name):
    one_graph(name)


@pytest.mark.engines
@pytest.mark.parametrize(
    "name, laws",
    [
        ("phi^4 d=2", ("equals_numpy", "couplings_by_row")),
        ("gauge coupling, noncompact", ("round_trip", "equals_numpy")),
    ],
)
def test_jax_that_compiles_nothing(name, laws):
    entry, backend = OBJECTS[name], member("jax-eager")
    laws = [law for law in LAWS[entry.kind] if law.name in laws]
    with sys.modules["jax"].disable_jit(), remembering():
        for law in laws:
            result = check(law, entry, backend, profile="ci", member="jax-eager", drawn=False)
            assert result.passed, result


@pytest.mark.engines
def test_a_kernel_on_jax_that_compiles_nothing():
    given = Given((2, 2), backend=member("jax-eager"))
    with sys.modules["jax"].disable_jit():
        assert BY_NAME["kernel", "blocks"].verdict(KERNELS["hmc_phi4"], given).passed
