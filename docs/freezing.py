"""Draw the history of Q of a finished run as an SVG: python docs/freezing.py runs/u1-freezing docs/freezing.svg"""

import sys

from haarflow.report.run_data import read
from haarflow.report.sections import history_svg

if __name__ == "__main__":
    folder, path = sys.argv[1:]
    with open(path, "w", encoding="utf-8") as file:
        file.write(history_svg(read(folder), draws=1000))
