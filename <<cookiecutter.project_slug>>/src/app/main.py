"""The application: routes, components, checks and periodic tasks. Edit this file first."""

from fastapi import FastAPI

from app.api import examples
#% if cookiecutter.leader_election == "yes"
from app.components import lease
#% endif
from app.lifecycle.components import Component
from app.lifecycle.forwarded import Proxy
from app.lifecycle.identity import Cluster, Identity, ServiceName
from app.lifecycle.service import Options, Service
from app.lifecycle.stop import Times
from app.observability import logging
from app.observability.access import AccessLog
from app.settings import Settings, listed


def create_app(settings: Settings) -> FastAPI:
    """The HTTP side: routers and middleware."""
    app = FastAPI(title="<< cookiecutter.project_name >>")
    app.state.settings = settings
    app.include_router(examples.router)
    return app


def create_service(settings: Settings) -> Service:
    """The whole: the application with what it opens, checks and does in the background.

    For example::

        components=[Component("cache", open_cache, depends_on=("database",))]
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
    service = Service(app, _options(settings), components=components)
#% if cookiecutter.leader_election == "yes"
    service.tasks.every(60, examples.take_stock, name="take stock", singleton=True)
#% endif
    app.state.service = service
    stream = logging.configure(settings.log.level, settings.log.format, service.context)
    if settings.log.access:
        as_json = logging.is_json(settings.log.format)
        service.traffic.on_done = AccessLog(
            stream, as_json=as_json, phase=service.phase, identity=service.identity
        )
    return service


def _options(settings: Settings) -> Options:
    shutdown = settings.shutdown
    return Options(
        host=settings.host,
        port=settings.port,
        management_port=settings.management_port,
        control_socket=settings.control_socket,
        keep_alive=settings.keep_alive_seconds,
        probes_on_main_port=settings.probes.main_port,
        stall=settings.probes.stall_seconds,
        unready=settings.probes.unready_seconds,
        times=Times(
            floor=shutdown.floor_seconds,
            slack=shutdown.slack_seconds,
            quiet=shutdown.quiet_seconds,
            limit=shutdown.limit_seconds,
            fallback=shutdown.fallback_seconds,
            stream_spread=shutdown.stream_spread_seconds,
            stop=shutdown.stop_seconds,
            grace=shutdown.grace_seconds,
        ),
        identity=Identity.from_environment(),
        cluster=cluster(settings),
        proxy=Proxy(
            trusted=tuple(listed(settings.proxy.trusted)),
            headers=frozenset(listed(settings.proxy.headers)),
            root_path=settings.proxy.root_path,
        ),
    )


def cluster(settings: Settings) -> Cluster:
    """Where this pod asks about its own endpoint."""
    kubernetes = settings.kubernetes
    named = [ServiceName.parse(one.strip()) for one in kubernetes.services.split(",") if one]
    if not settings.probes.main_port:  # its /readyz tells who answers
        named = [service._replace(port=0) for service in named]
    return Cluster(
        services=tuple(named),
        api=kubernetes.api,
        credentials=kubernetes.credentials,
    )
