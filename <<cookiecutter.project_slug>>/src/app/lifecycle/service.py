"""The life of the service: start, serve, drain, stop."""

import asyncio
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
import uvloop
from pydantic import BaseModel

from app.lifecycle.asgi import App, Scope
from app.lifecycle.checks import Checks
from app.lifecycle.children import release_after_fork
from app.lifecycle.components import Component, Components
from app.lifecycle.exits import Exit
#% if cookiecutter.tls == "yes"
from app.lifecycle.http.certificate import Certificate, Files
#% endif
from app.lifecycle.http.deadlines import deadline_of
from app.lifecycle.http.forwarded import Forwarded, Proxy
from app.lifecycle.http.limits import Limits
from app.lifecycle.http.measured import HttpMetrics
from app.lifecycle.http.server import HttpServer
#% if cookiecutter.tls == "yes"
from app.lifecycle.http.tls import TlsPort
#% endif
from app.lifecycle.http.traffic import Traffic
from app.lifecycle.kubernetes.identity import POD_HEADER, Cluster, Identity
from app.lifecycle.management.control import Control
from app.lifecycle.management.prestop import control_socket
from app.lifecycle.management.probes import Probes, asgi
from app.lifecycle.management.scrape import metrics_route
from app.lifecycle.management.server import Management, Response
from app.lifecycle.metrics import measures
from app.lifecycle.phase import Lifecycle, Phase
from app.lifecycle.ports import EarlyPort, StartError, bind, share_descriptors
from app.lifecycle.report import Journal, time_to_write
from app.lifecycle.signals import Signals
from app.lifecycle.stop import Stop
from app.lifecycle.stuck import Stuck
from app.lifecycle.tasks import Tasks
#% if cookiecutter.tracing == "opentelemetry"
from app.lifecycle.telemetry import Telemetry
#% endif
from app.lifecycle.times import Times
from app.lifecycle.watchdog import Watchdog, busy_threads, exit_soon, unresponsive_tasks
from app.observability.pipe import flush_prints

if TYPE_CHECKING:
    from app.lifecycle.http.shedding import Shedding, SheddingRule

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the lifecycle; the settings describe each of them."""

    host: str
    port: int
    management_port: int
    control_socket: str
    limits: Limits
    #: Most open connections to the main port; None: what the descriptors allow.
    max_connections: int | None
    #: Seconds until the response to a request must have started; infinite: no limit.
    request_timeout: float
    probes_on_main_port: bool
    #: Seconds of a blocked event loop after which /livez fails, and /readyz.
    stall: float
    unready: float
    times: Times
    identity: Identity
    cluster: Cluster
    proxy: Proxy
    #: Which of ``stop`` and ``grace`` are given; components make the others longer.
    fixed_times: frozenset[str] = frozenset()
    #: Limits of load shedding; None: every request is served.
    shedding: "SheddingRule | None" = None
#% if cookiecutter.tls == "yes"
    #: The certificate of the main port; None: plain HTTP.
    tls: Files | None = None
#% endif
    #: The version of the service.
    version: str = ""
    #: What ``/statusz`` shows of them.
    settings: BaseModel | None = None


class Service:
    """An ASGI application with its lifecycle.

    Pass components to the constructor; register checks and periodic tasks before ``run``.
    """

    def __init__(
        self,
        app: App,
        options: Options,
        *,
        components: Iterable[Component] = (),
    ) -> None:
        self._options = options
        self.version = options.version
        #: Fields of every log line.
        self.identity = options.identity.fields()
        self.components = Components(components)
        seconds = sum(self.components.slowest().values())
        self.times = times = options.times.with_components(seconds, options.fixed_times)
        self.lifecycle = Lifecycle(times.grace, limit=times.limit, timeout=options.request_timeout)
        self.components.on_death = self.lifecycle.drain
        self.tasks = Tasks(self.lifecycle)
        self.checks = Checks()
        self.journal = Journal(self.lifecycle)
        self.probes = Probes(
            self.lifecycle, self.checks, stall=options.stall, unready=options.unready
        )
#% if cookiecutter.tls == "yes"
        self.tls: TlsPort | None = None
#% endif
        self._probe_routes = self.probes.routes()
        # Inside of ``traffic``, so that probes do not pass through it.
        forwarded = Forwarded(app, options.proxy)
        self.shedding = self._shed_before(forwarded)
        self.traffic = Traffic(
            self.shedding or forwarded,
            self.lifecycle,
            uncounted=self._main_port_probes(),
            body_limit=options.limits.body_bytes,
        )
#% if cookiecutter.service_registry != "none"
        self.registration = self.traffic.registration
#% endif
        self.stuck = Stuck(self.traffic, self.tasks, self.components)
        self.http_metrics = HttpMetrics()
        self.traffic.on_done.append(self.http_metrics)
        if self.shedding is not None:
            self.shedding.deadline_of = deadline_of
            self.traffic.on_stream = self.shedding.release

    def _shed_before(self, app: App) -> "Shedding | None":
        """The load shedding in front of ``app``, if it is on."""
        if self._options.shedding is None:
            return None
        from app.lifecycle.http.shedding import Shedding  # only where a limit is set

        return Shedding(app, self._options.shedding)

    def _main_port_probes(self) -> dict[str, App]:
        """The probes on the main port."""
        if not self._options.probes_on_main_port:
            return {}
        return {
            "/livez": asgi(self._probe_routes["/livez"]),
            "/readyz": asgi(self._probe_routes["/readyz"], *self._who()),
        }

    def _who(self) -> tuple[tuple[bytes, bytes], ...]:
        """The header that names this pod, if the main port has probes."""
        pod = self._options.identity.pod.encode()
        return ((POD_HEADER, pod),) if pod and self._options.probes_on_main_port else ()

    def run(self, signals: Signals, early: EarlyPort | None = None) -> int:
        """Run until stopped; return the exit code, one of ``Exit``.

        ``early`` is the management port, if it already listens (see ``ports``). Exits
        the process instead of returning if a thread, a task, standard output or the lookup of
        a name is stuck.
        """
        signals.deliver_to(self.lifecycle)
        signals.on_question = self.stuck.ask
        try:
            server, management = self._open_ports(early)
            management.start()
        except StartError as error:
            return _refuse(error)
        self.times.warn(self.components.slowest())
        watchdog = Watchdog(self.lifecycle)
#% if cookiecutter.tracing == "opentelemetry"
        self.telemetry = Telemetry(self.traffic, self.http_metrics, self._options.identity)
#% endif
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            code = runner.run(self._live(signals, server, management, watchdog))
            printed = flush_prints(time_to_write(self.lifecycle))
            if not printed or busy_threads() or unresponsive_tasks(runner.get_loop()):
                os._exit(code)
            closing = exit_soon(code)
        closing.cancel()
        watchdog.stop()
        return code

    def phase(self) -> str:
        """The name of the phase, in lower case."""
        return self.lifecycle.phase.label

    def context(self) -> dict[str, object]:
        """Fields of every log line."""
        return {**self.identity, "phase": self.phase()}

    def _open_ports(self, early: EarlyPort | None) -> tuple[HttpServer, Management]:
        options = self._options
        try:
            path = control_socket(options.control_socket, options.port, create=True)
        except (ValueError, OSError) as error:
            raise StartError(str(error)) from None
#% if cookiecutter.tls == "yes"
        if options.tls is not None:
            certificate = Certificate(options.tls)
            self.tasks.every(options.tls.check, certificate.refresh, name="reload certificate")
            # Whoever asks the Service's address which pod answers need not speak TLS.
            self.tls = TlsPort(certificate, *self._who())
#% endif
        release_after_fork((options.port, options.management_port), str(path))
        main = bind(options.host, options.port, "APP_PORT")
        try:
            if early is not None and early[:2] == (options.host, options.management_port):
                management = early.socket
            else:
                management = bind(options.host, options.management_port, "APP_MANAGEMENT_PORT")
        except StartError:
            main.close()
            raise
        limits = share_descriptors()
        server = HttpServer(
            self.traffic,
            main,
            limit=min(limits.main, options.max_connections or limits.main),
            limits=options.limits,
#% if cookiecutter.tls == "yes"
            tls=self.tls,
#% endif
            server_header=False,
        )
        server.on_death = self.lifecycle.drain
        if self.shedding is not None:
            server.edge.load = self.shedding.load
        routes = {
            **self._probe_routes,
            "/statusz": lambda scope: self._status(server, scope),
            "/metrics": metrics_route(lambda: measures(self, server.connections)),
        }
        control = Control(path, self.lifecycle, self.journal, clients=limits.control)
        return server, Management(routes, management, control, limit=limits.management)

    async def _status(self, server: HttpServer, scope: Scope) -> Response:
        """``/statusz``; nothing of it is imported before somebody asks."""
        from app.lifecycle.management.statusz import respond
        from app.lifecycle.status import collect

        options = self._options
        found = collect(self, server, options.identity, options.cluster, options.settings)
        return respond(scope, found)

    async def _live(
        self, signals: Signals, server: HttpServer, management: Management, watchdog: Watchdog
    ) -> int:
        signals.share_with_loop()
        self.stuck.loop = asyncio.get_running_loop()
        self.probes.heartbeat.start()
        stop = Stop(
            times=self.times,
            lifecycle=self.lifecycle,
            journal=self.journal,
            traffic=self.traffic,
            server=server,
            checks=self.checks,
            tasks=self.tasks,
            components=self.components,
            stuck=self.stuck,
            identity=self._options.identity,
            cluster=self._options.cluster,
        )
        watchdog.start(stop.report_overrun)
        starting = asyncio.create_task(self._start(server), name="start")
        stopping = asyncio.create_task(self.lifecycle.wait(Phase.DRAINING), name="wait for a stop")
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)

        if not starting.done():
            starting.cancel("the service stops before it has started")
            await asyncio.wait({starting})
        elif error := starting.exception():
            await stop.stop()
            management.stop()
            return _refuse(error)
        else:
            self.lifecycle.advance(Phase.READY, "started")
            await stopping

        if not starting.cancelled():
            await stop.drain()
        await stop.stop()
#% if cookiecutter.tracing == "opentelemetry"
        await self.telemetry.flush(self.journal, stop.report(), stop.budget)
#% endif
        self.lifecycle.advance(Phase.STOPPED, self.lifecycle.reason)
        await asyncio.to_thread(management.stop)
        report = stop.report()
        report.write(self.identity, time_to_write(self.lifecycle))
        return report.exit_code

    async def _start(self, server: HttpServer) -> None:
        await self.components.start()
        await server.start()
        deadlines = self.traffic.keep_deadlines(self._options.limits.websocket_idle)
        self._deadlines = asyncio.create_task(deadlines, name="deadlines")
        self.checks.start()
        self.tasks.start()


def _refuse(error: BaseException) -> int:
    """Report in one sentence why the service did not start."""
    if not isinstance(error, StartError):
        raise error
    log.error("cannot start", reason=str(error))
    print(error, file=sys.stderr)
    return Exit.NOT_STARTED
