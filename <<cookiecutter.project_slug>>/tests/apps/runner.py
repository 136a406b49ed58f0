"""What ``app/__main__.py`` and ``app/main.py`` do, for an application of the tests."""

from collections.abc import Callable, Iterable

from fastapi import FastAPI

from app import main, settings
from app.lifecycle.components import Component
from app.lifecycle.service import Service
from app.lifecycle.signals import Signals
from app.observability import logging
from app.observability.access import AccessLog


def run(
    app: FastAPI,
    components: Iterable[Component] = (),
    prepare: Callable[[Service], None] = lambda service: None,
) -> int:
    """Live until told to stop; ``prepare`` adds checks and tasks."""
    signals = Signals()
    signals.install()
    loaded = settings.load()
    service = Service(app, main._options(loaded), components=components)
    app.state.service = service
    stream = logging.configure(loaded.log.level, loaded.log.format, service.context)
    service.traffic.on_done = AccessLog(
        stream, as_json=True, phase=service.phase, identity=service.identity
    )
    prepare(service)
    return service.run(signals)
