"""What `make scan` does for the values files holds for the other sets of values, too."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.chart.cases import CASES
from tests.chart.helm import CHART, found


@pytest.mark.parametrize("case", ["hpa", "keda", "unwatched"])
def test_trivy_finds_nothing(case: str, tmp_path: Path) -> None:
    (tmp_path / f"{case}.yaml").write_text(found()[0].text(CASES[case]), "utf-8")
    trivy = str(Path(sys.executable).parent / "trivy")
    ignored = str(CHART / ".trivyignore.yaml")
    command = [trivy, "--quiet", "config", "--skip-check-update", "--ignorefile", ignored]
    done = subprocess.run(
        [*command, "--exit-code", "1", str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
