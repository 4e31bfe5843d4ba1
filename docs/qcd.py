"""Draw the pion correlator of a finished run as an SVG: python docs/qcd.py runs/qcd-4d docs/qcd.svg"""

import sys

from haarflow.report.correlators import curves
from haarflow.report.figures import correlator
from haarflow.report.run_data import read

if __name__ == "__main__":
    folder, path = sys.argv[1:]
    rows = {label: curves(sampled, "pion") for label, sampled in read(folder).found.samplers.items()}
    with open(path, "w", encoding="utf-8") as file:
        file.write(correlator(rows, "pion"))
