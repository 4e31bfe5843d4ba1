"""Lattice theories: actions, forces, observables, exact results."""

from haarflow.theories.phi4 import Phi4
from haarflow.theories.u1 import U1Gauge
from haarflow.theories.wilson import Wilson

__all__ = ["Phi4", "U1Gauge", "Wilson"]
