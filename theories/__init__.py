"""Lattice theories: actions, forces, observables, exact results."""

from haarflow.core.acceleration import accelerated
from haarflow.theories.compiled import accelerate as accelerate
from haarflow.theories.composite import Sum
from haarflow.theories.gauge.sun import SUNGauge
from haarflow.theories.gauge.u1 import U1Gauge
from haarflow.theories.replaced import with_parts
from haarflow.theories.scalar.phi4 import Phi4
from haarflow.theories.spins.ising import Ising

__all__ = ["Ising", "Phi4", "SUNGauge", "Sum", "U1Gauge", "accelerated", "with_parts"]
