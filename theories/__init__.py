"""Lattice theories: actions, forces, observables, exact results."""

from haarflow.core.acceleration import accelerated
from haarflow.theories.compiled import accelerate as accelerate
from haarflow.theories.composite import Sum
from haarflow.theories.scalar.phi4 import Phi4
from haarflow.theories.replaced import with_parts
from haarflow.theories.gauge.u1 import U1Gauge
from haarflow.theories.gauge.sun import SUNGauge

__all__ = ["Phi4", "Sum", "U1Gauge", "SUNGauge", "accelerated", "with_parts"]
