"""Writes the chart as it is rendered with each set of values, for programs that look for mistakes.

``python -m tests.chart.rendered FOLDER``
"""

import shutil
import sys
from pathlib import Path

from tests.chart.cases import CASES
from tests.chart.helm import found

#: Not what asks for less safety on purpose, to see that it can be had.
LOOKED_AT = ("defaults", "dev", "production", "single-node", "hpa", "keda", "unwatched")

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in LOOKED_AT:
        (folder / f"{name}.yaml").write_text(found()[0].text(CASES[name]), "utf-8")
