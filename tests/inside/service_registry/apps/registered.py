"""The application of the tests, registered in the service registry."""

import os
import sys

from app import environment, wiring
from app.lifecycle.components import Component
from app.lifecycle.service import Service
from tests.application import app, failing, gate
from tests.apps.runner import run

if os.environ.get("FAILING"):
    failing.add("first")


def prepare(service: Service) -> None:
    service.checks.add("gate", gate, period=0.05, timeout=1, gating=True)


if __name__ == "__main__":
    settings = environment.load()
    registry = Component("registry", lambda: wiring.registered(app.state.service, settings))
    sys.exit(run(app, [registry], prepare))
