"""haarflow: machine-learned samplers for lattice field theory whose answers are exact.

Choose a backend, then work with plain arrays of that backend:

>>> from haarflow.backends import numpy as backend
>>> from haarflow.theories import U1Gauge
>>> theory = U1Gauge((8, 8))
>>> theory.action(backend.asarray([[[0.0]]]) * backend.xp.ones((2, 8, 8)), {"beta": 2.0}).shape
()
"""

__version__ = "0.1.0"

_FROM = {
    "convert_gauge": "haarflow.gaugefiles",
    "gauge_info": "haarflow.gaugefiles",
    "open_model": "haarflow.flows.modelfile",
    "measure_gauge": "haarflow.gaugefiles",
    "read_gauge": "haarflow.gaugefiles",
    "save_model": "haarflow.flows.modelfile",
    "run": "haarflow.pipeline",
    "verify": "haarflow.verification.verify",
    "write_gauge": "haarflow.gaugefiles",
}


def __getattr__(name: str):
    """Load the larger modules on first use, so that `import haarflow` is fast."""
    if name in _FROM:
        from importlib import import_module

        return getattr(import_module(_FROM[name]), name)
    raise AttributeError(f"module 'haarflow' has no attribute {name!r}")
