"""Lattice theories: actions, forces, observables, exact results."""

from haarflow.core.acceleration import accelerated
from haarflow.theories import accelerate as accelerate
from haarflow.theories.composite import Sum
from haarflow.theories.phi4 import Phi4
from haarflow.theories.replaced import with_parts
from haarflow.theories.u1 import U1Gauge
from haarflow.theories.wilson import Wilson

__all__ = ["Phi4", "Sum", "U1Gauge", "Wilson", "accelerated", "with_parts"]
