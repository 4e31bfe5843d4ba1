from haarflow.core.chains.hmc import HMC as HMC
from haarflow.core.chains.kernel import run as run_chain
from haarflow.core.statistics import gamma_method as gamma_method
from haarflow.core.statistics import reweight as reweight
from haarflow.flows.modelfile import save_model as save_model
from haarflow.flows.sampling.draws import draw as draw
from haarflow.gaugefiles import convert_gauge as convert_gauge
from haarflow.gaugefiles import gauge_info as gauge_info
from haarflow.gaugefiles import measure_gauge as measure_gauge
from haarflow.gaugefiles import read_gauge as read_gauge
from haarflow.gaugefiles import write_gauge as write_gauge
from haarflow.models import open_model as open_model
from haarflow.pipeline import run as run_recipe
from haarflow.results.reading import read_ensemble as read_ensemble
from haarflow.run.recipes import load as load_recipe
from haarflow.theories import Phi4 as Phi4
from haarflow.theories import SUNGauge as SUNGauge
from haarflow.theories import U1Gauge as U1Gauge
from haarflow.verification.verify import verify as verify

__version__: str
__all__ = (
    "HMC",
    "Phi4",
    "SUNGauge",
    "U1Gauge",
    "__version__",
    "convert_gauge",
    "draw",
    "gamma_method",
    "gauge_info",
    "load_recipe",
    "measure_gauge",
    "open_model",
    "read_ensemble",
    "read_gauge",
    "reweight",
    "run_chain",
    "run_recipe",
    "save_model",
    "verify",
    "write_gauge",
)
