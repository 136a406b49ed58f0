"""Every test of the chart runs with each Helm that there is."""

import pytest

from tests.chart import helm as helms


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "helm" in metafunc.fixturenames:
        found = helms.found()
        metafunc.parametrize("helm", found, ids=[f"helm{helm.major}" for helm in found])
