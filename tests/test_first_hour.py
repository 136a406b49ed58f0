"""The owner's first hour: the examples go, a route, a setting, a component, a dependency and a value come."""

from pathlib import Path

import pytest

from tests.template import LEANEST, Answers, Template, git
from tests.test_generated_project import WORKERS, make

pytestmark = pytest.mark.slow

ROUTE = '''"""Orders."""

import humanize
from fastapi import APIRouter, Request

router = APIRouter(tags=["orders"])


@router.get("/orders")
async def orders(request: Request) -> dict[str, str]:
    settings = request.app.state.settings
    return {"most": humanize.intcomma(settings.orders.most)}
'''

STORE = '''"""The store of the orders."""

import contextlib
from collections.abc import AsyncIterator


class Store:
    async def ping(self) -> None:
        """Raise ConnectionError when the store does not respond."""


@contextlib.asynccontextmanager
async def open_store() -> AsyncIterator[Store]:
    yield Store()
'''

TEST = '''"""The orders."""

from fastapi.testclient import TestClient

from app.main import create_app
from app.settings import Settings


def test_orders() -> None:
    with TestClient(create_app(Settings())) as client:
        assert client.get("/orders").json() == {"most": "1,000"}
'''

SETTING = '''class Orders(Group):
    """Orders."""

    most: int = Field(default=1000, ge=1, description="Most orders of one customer.")


class Settings(BaseSettings):
'''

CHECK = """    service.checks.add("store", lambda: service.components["store"].ping())
    return service
"""

DRILL = """[plain]
path = "/orders"
"""


def edit(path: Path, *changes: tuple[str, str]) -> None:
    """Replace each text, which must be there, by the other."""
    text = path.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text, f"{path.name}: {old}"
        text = text.replace(old, new, 1)
    path.write_text(text, encoding="utf-8")


def live_the_first_hour(project: Path) -> None:
    """Do by hand what the README says, and what every owner does next."""
    (project / "src/app/api/examples.py").unlink()
    (project / "tests/test_examples.py").unlink()
    (project / "src/app/api/orders.py").write_text(ROUTE)
    (project / "src/app/components").mkdir(exist_ok=True)
    (project / "src/app/components/__init__.py").write_text('"""What the service opens and closes."""\n')
    (project / "src/app/components/store.py").write_text(STORE)
    (project / "tests/test_orders.py").write_text(TEST)
    edit(
        project / "src/app/main.py",
        (
            "from app.api import examples, problems\n",
            "from app.api import orders, problems\nfrom app.components import store\n",
        ),
        ("examples.router", "orders.router"),
        ("components: list[Component] = []", 'components = [Component("store", store.open_store)]'),
        ("    return service\n", CHECK),
    )
    edit(
        project / "src/app/settings.py",
        ("class Settings(BaseSettings):\n", SETTING),
        ("    log: Log = Log()\n", "    log: Log = Log()\n    orders: Orders = Orders()\n"),
    )
    edit(
        project / "pyproject.toml",
        ('  "httpx2>=2,<3", # imported at the first call: 75 ms and 1.3 MiB\n', ""),
        ("dev = [\n", 'dev = [\n  "httpx2>=2,<3",\n'),
        ('  "fastapi', '  "humanize>=4.10",\n  "fastapi'),
    )
    edit(project / "chart/values.yaml", ("\ntest:\n", "\n# The team that owns the service.\nteam: payments\n\ntest:\n"))
    edit(
        project / "chart/values.schema.json",
        (
            '"properties": {\n',
            '"properties": {\n  "team": {"description": "The team that owns the service", "type": "string"},\n',
        ),
    )
    edit(
        project / "chart/templates/service.yaml",
        ("  labels:\n", "  labels:\n    team: {{ $.Values.team }}\n"),
    )
    if (project / "drill.toml").exists():
        (project / "drill.toml").write_text(DRILL)


@pytest.mark.parametrize("answers", [{}, LEANEST], ids=["defaults", "leanest"])
def test_everything_passes_after_the_first_hour(answers: Answers, tmp_path: Path) -> None:
    project = Template.copied_to(tmp_path).bake(**answers)
    git("add", "--all", folder=project)
    git("commit", "-m", "first", folder=project)
    live_the_first_hour(project)
    make("setup", project)
    make("generate", project)
    make("format", project)
    make("lint", project)
    make("test", project, PYTEST_XDIST_AUTO_NUM_WORKERS=WORKERS)
    make("chart", project)
    if "drill" not in answers:
        make("drill", project)
    assert "APP_ORDERS__MOST" in (project / "chart/values.schema.json").read_text(encoding="utf-8")
    assert 'team: "payments"' in (project / "chart/files/defaults.yaml").read_text(encoding="utf-8")
