"""The application: routes, components, checks and periodic tasks. Edit this file first."""

from fastapi import FastAPI

from app import wiring
#% if cookiecutter.database == "postgresql"
from app.api import database_errors, examples, idempotency, mails, problems
from app.api.notes import routes as notes
#% else
from app.api import examples, problems
#% endif
#% if cookiecutter.leader_election == "yes"
from app.components import lease
#% endif
#% if cookiecutter.database == "postgresql"
from app.database import pool
#% endif
from app.lifecycle.components import Component
#% if cookiecutter.database == "postgresql"
from app.lifecycle.phase import Phase
#% endif
from app.lifecycle.service import Service
#% if cookiecutter.database == "postgresql"
from app.migrations.schema import Schema
from app.settings import Settings
from app.work.relay import Relay


#% else
from app.settings import Settings


#% endif
def create_app(settings: Settings) -> FastAPI:
    """Return the HTTP side: routers and middleware."""
    app = FastAPI(
        title="<< cookiecutter.project_name >>",
        responses=problems.RESPONSES,
    )
    problems.install(app)
    app.state.settings = settings
    app.include_router(examples.router)
#% if cookiecutter.database == "postgresql"
    database_errors.install(app)
    app.include_router(mails.router)
    app.include_router(notes.router)
#% endif
    return app


def create_service(settings: Settings) -> Service:
    """Return the application with its components, checks and periodic tasks.

    For example::

        components = [Component("buffer", open_buffer, depends_on=("database",), level="data")]
        service.checks.add("cache", ping, period=5, timeout=1)
        service.tasks.every(60, refresh, name="refresh", jitter=5)
    """
    app = create_app(settings)
    components: list[Component] = []
#% if cookiecutter.database == "postgresql"
    components.append(
        Component("database", lambda: pool.open_pool(settings.database), level="resources")
    )
    relay = Relay(
        {mails.TOPIC: mails.send},
        settings.outbox,
        lambda: service.lifecycle.wait(Phase.DRAINING),
    )
    components.append(
        Component("outbox", relay.open, depends_on=("database",), level="application")
    )
#% endif
#% if cookiecutter.leader_election == "yes"
    components.append(
        Component("lease", lambda: lease.campaign(service.tasks.leadership, settings))
    )
#% endif
#% if cookiecutter.service_registry != "none"
    components.append(Component("registry", lambda: wiring.registered(service, settings)))
#% endif
    service = Service(app, wiring.options(settings), components=components)
    app.state.service = service
#% if cookiecutter.database == "postgresql"
    service.checks.add(
        "database",
        lambda: service.components["database"].ping(),
        gating=settings.database.gating,
    )
    schema = Schema(lambda: service.components["database"].engine)
    service.checks.add("schema", schema.ask, period=1, timeout=5, gating=settings.migrations.gating)
    service.tasks.every(
        600,
        lambda: idempotency.forget_expired(service.components["database"]),
        name="forget idempotency keys",
        jitter=60,
    )
#% endif
#% if cookiecutter.leader_election == "yes"
    service.tasks.every(60, examples.take_stock, name="take stock", singleton=True)
#% endif
    return service
