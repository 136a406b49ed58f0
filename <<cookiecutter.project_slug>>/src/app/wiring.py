"""How the settings reach the lifecycle, the cluster and the log."""

import math
#% if cookiecutter.service_registry != "none"
from contextlib import AbstractAsyncContextManager
#% endif
from importlib.metadata import version
from typing import TYPE_CHECKING

from app.lifecycle.budget import LEAST
#% if cookiecutter.tls == "yes"
from app.lifecycle.http.certificate import Files
#% endif
from app.lifecycle.http.forwarded import Proxy
from app.lifecycle.http.limits import Limits
from app.lifecycle.kubernetes.identity import Cluster, Identity, ServiceName
from app.lifecycle.request_settings import Requests
from app.lifecycle.service import Options, Service
from app.lifecycle.settings import Shutdown, in_kubernetes, listed
from app.lifecycle.times import Times
from app.observability import logging
from app.observability.access import AccessLog
#% if cookiecutter.service_registry != "none"
from app.registry import registrar
#% endif
from app.settings import Settings

if TYPE_CHECKING:
    from app.lifecycle.http.shedding import SheddingRule


def options(settings: Settings) -> Options:
    """What the lifecycle runs by."""
    shutdown = settings.shutdown
    return Options(
        host=settings.host,
        port=settings.port,
        management_port=settings.management_port,
        control_socket=settings.control_socket,
        request_timeout=request_timeout(settings),
        limits=limits(settings),
        max_connections=settings.requests.max_connections,
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
            stop=LEAST if shutdown.stop_seconds is None else shutdown.stop_seconds,
            grace=shutdown.grace_seconds,
        ),
        fixed_times=fixed_times(shutdown),
        identity=Identity.from_environment(),
        cluster=cluster(settings),
        proxy=Proxy(
            trusted=tuple(listed(settings.proxy.trusted)),
            headers=frozenset(listed(settings.proxy.headers)),
            root_path=settings.proxy.root_path,
        ),
        shedding=shedding(settings.requests),
#% if cookiecutter.tls == "yes"
        tls=Files.named(
            settings.tls.certificate,
            settings.tls.key,
            minimum=settings.tls.minimum_version,
            check=settings.tls.check_seconds,
        ),
#% endif
        version=version("<< cookiecutter.project_slug >>"),
        settings=settings,
    )


def fixed_times(shutdown: Shutdown) -> frozenset[str]:
    """The times that components do not change: those that are set, and what the kubelet gives."""
    stop = [] if shutdown.stop_seconds is None else ["stop"]
    grace = ["grace"] if in_kubernetes() or "grace_seconds" in shutdown.model_fields_set else []
    return frozenset([*stop, *grace])


def shedding(requests: Requests) -> "SheddingRule | None":
    """How many requests may be in flight; None: any number, and nothing is imported."""
    if requests.max_in_flight is None:
        return None
    from app.lifecycle.http.shedding import SheddingRule

    return SheddingRule(
        most=requests.max_in_flight,
        least=requests.min_in_flight,
        adaptive=requests.in_flight_limit == "adaptive",
        queue=requests.queue,
        queue_seconds=requests.queue_seconds,
        priority=requests.priority,
        header=requests.priority_header,
        reserved=requests.reserved_share,
    )


def request_timeout(settings: Settings) -> float:
    """The default deadline of requests; 0 means none, and nothing what a drain would give."""
    seconds = settings.requests.timeout_seconds
    if seconds is None:
        return settings.shutdown.limit_seconds or math.inf
    return seconds or math.inf


def limits(settings: Settings) -> Limits:
    """What a client of the main port may take."""
    requests, websockets = settings.requests, settings.websockets
    return Limits(
        header_seconds=requests.header_seconds,
        header_bytes=requests.header_bytes,
        body_bytes=requests.body_bytes,
        least_rate=requests.least_rate,
        stall_seconds=requests.stall_seconds,
        keep_alive=settings.keep_alive_seconds,
        keep_alive_least=requests.keep_alive_least_seconds,
        message_bytes=websockets.message_bytes,
        ping=websockets.ping_seconds,
        pong=websockets.pong_seconds,
        websocket_idle=websockets.idle_seconds or math.inf,
        websockets=websockets.max_open,
    )


def cluster(settings: Settings) -> Cluster:
    """Where this pod asks about its own endpoint."""
    kubernetes = settings.kubernetes
    services = [ServiceName.parse(name) for name in listed(kubernetes.services)]
    if not settings.probes.main_port:  # /readyz on the main port tells which pod answers
        services = [service._replace(port=0) for service in services]
    return Cluster(tuple(services), kubernetes.api, kubernetes.credentials)


#% if cookiecutter.service_registry != "none"
def registered(service: Service, settings: Settings) -> AbstractAsyncContextManager[None]:
    """Keep the pod in the service registry while it is ready."""
    health = settings.port if settings.probes.main_port else settings.management_port
#% if cookiecutter.tls == "yes"
    return registrar.registered(
        service,
        settings.registry,
        port=settings.port,
        health_port=health,
        secure=bool(settings.tls.certificate),
    )


#% else
    return registrar.registered(service, settings.registry, port=settings.port, health_port=health)


#% endif
#% endif
def configure_logging(service: Service, settings: Settings) -> None:
    """Log to standard output, with a line for each request if that is asked for."""
    stream = logging.configure(settings.log.level, settings.log.format, service.context)
    if settings.log.access:
        access_log = AccessLog(
            stream,
            as_json=logging.is_json(settings.log.format),
            phase=service.phase,
            identity=service.identity,
            share=settings.log.access_share,
        )
        service.traffic.on_done.append(access_log)
