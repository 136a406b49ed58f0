"""How long a bake takes, beside that of a template with a single file."""

import json
import subprocess
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
COOKIECUTTER = ROOT / ".venv" / "bin" / "cookiecutter"
ROUNDS = 8


def bakes() -> dict[str, float]:
    """Seconds for each, as medians, and the median of their ratios."""
    with tempfile.TemporaryDirectory() as folder:
        smallest = Path(folder) / "smallest"
        (smallest / "{{cookiecutter.name}}").mkdir(parents=True)
        (smallest / "{{cookiecutter.name}}" / "README.md").write_text("# {{cookiecutter.name}}\n")
        (smallest / "cookiecutter.json").write_text(json.dumps({"name": "project"}))
        pairs = [(bake(ROOT, f"{folder}/a{turn}"), bake(smallest, f"{folder}/b{turn}")) for turn in range(ROUNDS)]
    return {
        "default": median(one for one, _ in pairs),
        "smallest": median(other for _, other in pairs),
        "ratio": median(one / other for one, other in pairs),
    }


def bake(template: Path, output: str) -> float:
    began = time.monotonic()
    command = [str(COOKIECUTTER), str(template), "--no-input", "--default-config", "--output-dir", output]
    subprocess.run(command, check=True, capture_output=True)
    return time.monotonic() - began
