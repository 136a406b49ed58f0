"""What ``app/__main__.py`` and ``app/main.py`` do, for an application of the tests."""

from collections.abc import Callable, Iterable

from fastapi import FastAPI

from app import environment, wiring
from app.lifecycle.components import Component
from app.lifecycle.service import Service
from app.lifecycle.signals import Signals


def run(
    app: FastAPI,
    components: Iterable[Component] = (),
    prepare: Callable[[Service], None] = lambda service: None,
) -> int:
    """Live until told to stop; ``prepare`` adds checks and tasks."""
    signals = Signals()
    signals.install()
    settings = environment.load()
    service = Service(app, wiring.options(settings), components=components)
    app.state.service = service
    wiring.configure_logging(service, settings)
    prepare(service)
    return service.run(signals)
