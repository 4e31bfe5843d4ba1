"""haarflow: machine-learned samplers for lattice field theory whose answers are exact.

Choose a backend, then work with plain arrays of that backend:

>>> from haarflow import HMC, U1Gauge, gamma_method, run_chain
>>> from haarflow.backends import numpy as backend
>>> from haarflow.core import random
>>> theory = U1Gauge((4, 4))
>>> hmc = HMC(theory, steps=5, values={"couplings": {"beta": 1.0}, "step_size": 0.2})
>>> cold = hmc.init(backend.xp.zeros((8, 2, 4, 4)))
>>> state, records = run_chain(hmc, random.key(0, backend), cold, draws=50, measure=theory.observables)
>>> plaquette = gamma_method(records["observables"]["plaquette"].T)
>>> 0.3 < plaquette.value < 0.7
True
"""

from typing import Any

__version__ = "0.1.0"

# the names that a user begins with -> where they live; `__init__.pyi` gives their types
_FIRST = {
    "HMC": "core.chains.hmc:HMC",
    "Phi4": "theories:Phi4",
    "SUNGauge": "theories:SUNGauge",
    "U1Gauge": "theories:U1Gauge",
    "convert_gauge": "gaugefiles:convert_gauge",
    "draw": "flows.sampling.draws:draw",
    "gamma_method": "core.statistics:gamma_method",
    "gauge_info": "gaugefiles:gauge_info",
    "load_recipe": "run.recipes:load",
    "measure_gauge": "gaugefiles:measure_gauge",
    "open_model": "models:open_model",
    "read_ensemble": "results.reading:read_ensemble",
    "read_gauge": "gaugefiles:read_gauge",
    "reweight": "core.statistics:reweight",
    "run_chain": "core.chains.kernel:run",
    "run_recipe": "pipeline:run",
    "save_model": "flows.modelfile:save_model",
    "verify": "verification.verify:verify",
    "write_gauge": "gaugefiles:write_gauge",
}
__all__ = [*_FIRST, "__version__"]


def __getattr__(name: str) -> Any:
    """Load a name's module when it is first used, so that `import haarflow` is fast."""
    if name not in _FIRST:
        raise AttributeError(f"module 'haarflow' has no attribute {name!r}")
    from importlib import import_module

    module, _, attribute = _FIRST[name].partition(":")
    globals()[name] = found = getattr(import_module(f"haarflow.{module}"), attribute)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_FIRST})
