"""The application: routes, components, checks and periodic tasks. Edit this file first."""

from fastapi import FastAPI

from app import wiring
from app.api import examples, problems
#% if cookiecutter.leader_election == "yes"
from app.components import lease
#% endif
#% if cookiecutter.service_registry != "none"
from app.components import registrar
#% endif
from app.lifecycle.components import Component
from app.lifecycle.service import Service
from app.settings import Settings


def create_app(settings: Settings) -> FastAPI:
    """Return the HTTP side: routers and middleware."""
    app = FastAPI(
        title="<< cookiecutter.project_name >>",
        responses=problems.RESPONSES,
    )
    problems.install(app)
    app.state.settings = settings
    app.include_router(examples.router)
    return app


def create_service(settings: Settings) -> Service:
    """Return the application with its components, checks and periodic tasks.

    For example::

        components = [Component("cache", open_cache, depends_on=("database",))]
        service.checks.add("cache", ping, period=5, timeout=1)
        service.tasks.every(60, refresh, name="refresh", jitter=5)
    """
    app = create_app(settings)
    components: list[Component] = []
#% if cookiecutter.leader_election == "yes"
    components.append(
        Component("lease", lambda: lease.campaign(service.tasks.leadership, settings))
    )
#% endif
#% if cookiecutter.service_registry != "none"
    components.append(Component("registry", lambda: registrar.registered(service, settings)))
#% endif
    service = Service(app, wiring.options(settings), components=components)
    app.state.service = service
#% if cookiecutter.leader_election == "yes"
    service.tasks.every(60, examples.take_stock, name="take stock", singleton=True)
#% endif
    return service
