"""Gauge-field files: ILDG/LIME, NERSC, openQCD and HiRep read and written, MILC v5 and BQCD read; slab by slab, everything checked.

`read_gauge`, `write_gauge`, `gauge_info`, `convert_gauge` and `measure_gauge` are also attributes of `haarflow` itself.
"""

from haarflow.gaugefiles.formats.table import recognised
from haarflow.gaugefiles.layouts import from_layout, to_layout
from haarflow.gaugefiles.measuring import measure_gauge
from haarflow.gaugefiles.reading import gauge_info, read_gauge
from haarflow.gaugefiles.records import Check, Gauge, GaugeFileError, Report
from haarflow.gaugefiles.writing import Converted, convert_gauge, write_gauge

__all__ = [
    "Check",
    "Converted",
    "Gauge",
    "GaugeFileError",
    "Report",
    "convert_gauge",
    "from_layout",
    "gauge_info",
    "measure_gauge",
    "read_gauge",
    "recognised",
    "to_layout",
    "write_gauge",
]
