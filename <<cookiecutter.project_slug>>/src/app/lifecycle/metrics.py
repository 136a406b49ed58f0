"""The metrics of the service, but for those that its parts keep themselves: histograms.

The management thread reads them while the main thread runs, so sets of the main
thread are copied before they are iterated.
"""

import platform
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol, get_args, runtime_checkable

from app.lifecycle.checks import Checks
from app.lifecycle.components import Components, State
from app.lifecycle.http.connections import Connections
from app.lifecycle.http.measured import HttpMetrics
#% if cookiecutter.tls == "yes"
from app.lifecycle.http.tls import TlsPort
#% endif
from app.lifecycle.http.traffic import Traffic
from app.lifecycle.management.probes import Probes
from app.lifecycle.phase import Lifecycle, Phase
#% if cookiecutter.service_registry != "none"
from app.lifecycle.registration import Registration
#% endif
from app.lifecycle.tasks import Tasks
from app.observability.metrics import Family, Metric, by, counter, gauge
from app.observability.pipe import STDOUT
from app.observability.process import process_metrics

if TYPE_CHECKING:
    from app.lifecycle.http.shedding import Shedding


class Service(Protocol):
    """What is measured of a service."""

    version: str
    lifecycle: Lifecycle
    probes: Probes
    traffic: Traffic
    http_metrics: HttpMetrics
    shedding: "Shedding | None"
#% if cookiecutter.tls == "yes"
    tls: TlsPort | None
#% endif
    checks: Checks
    components: Components
    tasks: Tasks


@runtime_checkable
class Measured(Protocol):
    """The value of a component that has metrics of its own; asked from any thread."""

    def families(self) -> Iterable[Family]: ...


def measures(service: Service, connections: Connections) -> list[Family]:
    """Every metric, with its current value."""
    return [
        *service.http_metrics.families(),
        *_traffic(service.traffic, service.shedding),
        *_connections(connections),
#% if cookiecutter.tls == "yes"
        *(service.tls.families() if service.tls is not None else ()),
#% endif
        *_stop(service.lifecycle, service.traffic),
        *_state(service.lifecycle.phase, service.probes, service.checks),
        service.probes.heartbeat.lag,
        *_components(service.components),
        *_of_components(service.components),
        *_tasks(service.tasks),
#% if cookiecutter.service_registry != "none"
        *_registration(service.traffic.registration),
#% endif
        counter(
            "app_log_lines_dropped_total",
            "Log lines that were not written: standard output was blocked or broken.",
            STDOUT.dropped,
        ),
        Metric(
            "app_build_info",
            "gauge",
            "1, with the version of the service.",
            [({"version": service.version, "python_version": platform.python_version()}, 1)],
        ),
        *process_metrics(),
    ]


def _state(phase: Phase, probes: Probes, checks: Checks) -> list[Metric]:
    return [
        Metric(
            "app_phase",
            "gauge",
            "1 for the current phase, 0 for the others.",
            by("phase", {one.label: int(one is phase) for one in Phase}),
        ),
        gauge("app_ready", "Whether /readyz responds with 200.", int(probes.readyz().ok)),
        gauge(
            "app_event_loop_stalled_seconds",
            "Time for which the event loop has not turned; 0 while it does.",
            probes.heartbeat.stalled(),
        ),
        Metric(
            "app_check_well",
            "gauge",
            "Whether the check was well when it last ran; 0 before that.",
            [
                (
                    {"check": name, "gating": "true" if result["gating"] else "false"},
                    int(result["well"] is True),
                )
                for name, result in checks.results().items()
            ],
        ),
    ]


def _components(components: Components) -> list[Metric]:
    return [
        Metric(
            "app_component_state",
            "gauge",
            "1 for the current state of the component, 0 for the others.",
            [
                ({"component": name, "state": one}, int(one == current))
                for name, current in components.states.items()
                for one in get_args(State)
            ],
        ),
        Metric(
            "app_component_start_seconds",
            "gauge",
            "Time that the component took to open.",
            by("component", components.start_seconds),
        ),
    ]


def _of_components(components: Components) -> list[Family]:
    """What components measure themselves; the samples of two of a kind go into one family."""
    measured = [value for _, value in components.opened() if isinstance(value, Measured)]
    found: dict[str, Family] = {}
    for family in (family for one in measured for family in one.families()):
        known = found.get(family.name)
        if isinstance(known, Metric) and isinstance(family, Metric):
            family = replace(known, samples=[*known.samples, *family.samples])
        found[family.name] = family
    return list(found.values())


def _tasks(tasks: Tasks) -> list[Metric]:
    rounds = list(tasks.rounds.values())
    return [
        gauge("app_tasks_running", "Background tasks that run.", len(tasks.names())),
        Metric(
            "app_task_failures_total",
            "counter",
            "How many times background work of this name raised.",
            by("task", tasks.failures),
        ),
        Metric(
            "app_task_runs_total",
            "counter",
            "Finished rounds of a periodic task, also those that failed.",
            by("task", {one.name: one.runs for one in rounds}),
        ),
        Metric(
            "app_task_last_run_timestamp_seconds",
            "gauge",
            "Unix time at which the last round of a periodic task began.",
            by("task", {one.name: one.last_run for one in rounds}),
        ),
        Metric(
            "app_task_next_run_timestamp_seconds",
            "gauge",
            "Unix time at which the next round of a periodic task begins; none while one runs.",
            by("task", {one.name: one.next_run for one in rounds}),
        ),
#% if cookiecutter.leader_election == "yes"
        gauge(
            "app_leader",
            "Whether this pod leads, and with that runs the singletons.",
            int(tasks.leadership.leads),
        ),
        counter(
            "app_leader_changes_total",
            "Changes of leader that this pod saw.",
            tasks.leadership.changes,
        ),
        Metric(
            "app_singletons_cut_total",
            "counter",
            "How many rounds of a singleton of this name were cut off.",
            by("task", tasks.leadership.cut),
        ),
#% endif
    ]


#% if cookiecutter.service_registry != "none"
def _registration(registration: Registration) -> list[Metric]:
    """Metrics of the service registry, where one is used."""
    if not registration.url:
        return []
    return [
        gauge(
            "app_registry_listed",
            "Whether the service registry lists this pod, as far as is known.",
            int(registration.listed),
        ),
        counter(
            "app_registry_failures_total",
            "Calls to the service registry that failed.",
            registration.failures,
        ),
        gauge(
            "app_registry_given_up",
            "Whether a stop of this pod has given up the removal of its entry.",
            int(registration.given_up),
        ),
    ]


#% endif
def _traffic(traffic: Traffic, shedding: "Shedding | None") -> list[Metric]:
    return [
        gauge(
            "app_requests_in_flight",
            "Requests that are not done, their background work included; no streams.",
            traffic.in_flight,
        ),
        gauge(
            "app_streams_open",
            "Streams of events or records and WebSockets that have not ended.",
            len(traffic.open_streams),
        ),
        Metric(
            "app_requests_cancelled_total",
            "counter",
            "Requests whose handler was cancelled, by cause.",
            by("cause", traffic.cancelled),
        ),
        gauge(
            "app_threads_overdue",
            "Threads of def endpoints that go on after their request was cancelled.",
            traffic.overdue_threads.count,
        ),
        *_shedding(shedding),
    ]


def _connections(connections: Connections) -> list[Metric]:
    """Connections of the main port."""
    return [
        gauge(
            "app_connections_open",
            "Connections to the main port; WebSockets are among them.",
            len(connections.connections),
        ),
        counter(
            "app_connections_accepted_total",
            "Connections to the main port so far.",
            connections.accepted,
        ),
        counter(
            "app_connections_refused_total",
            "Connections to the main port closed at once because of their limit.",
            connections.refused,
        ),
        counter(
            "app_websockets_refused_total",
            "WebSockets that were refused because too many were open.",
            connections.websockets_refused,
        ),
        Metric(
            "app_connections_closed_total",
            "counter",
            "Connections to the main port that the service closed for this reason.",
            by("reason", connections.closed),
        ),
        gauge(
            "app_keep_alive_seconds",
            "Time after which idle connections to the main port are closed, at present.",
            connections.keep_alive.seconds,
        ),
    ]


def _stop(lifecycle: Lifecycle, traffic: Traffic) -> list[Metric]:
    """The stop: the seconds that it may take, and how it goes."""
    return [
        gauge("app_drain_limit_seconds", "Time until a drain is cut short.", lifecycle.limit),
        gauge(
            "app_grace_seconds",
            "Time that a whole stop may take: the grace period of the settings.",
            lifecycle.grace,
        ),
        gauge(
            "app_drain_seconds",
            "Time since the stop was asked for; 0 before.",
            lifecycle.elapsed(),
        ),
        gauge(
            "app_drain_requests_served",
            "Requests completed since the stop was asked for.",
            traffic.requests_served,
        ),
        gauge(
            "app_drain_requests_refused",
            "Requests answered 503 since the stop was asked for.",
            traffic.requests_refused,
        ),
        counter(
            "app_requests_cut_total",
            "Requests and streams that a stop cut off.",
            len(traffic.requests_cut),
        ),
    ]


def _shedding(shedding: "Shedding | None") -> list[Metric]:
    """Metrics of load shedding, where it is on."""
    if shedding is None:
        return []
    return [
        gauge("app_in_flight_limit", "Requests that may be in flight now.", shedding.limit),
        gauge("app_requests_queued", "Requests that wait until others are done.", shedding.queued),
        Metric(
            "app_requests_shed_total",
            "counter",
            "Requests answered 503 because too many were in flight.",
            [
                ({"reason": reason, "priority": priority}, count)
                for (reason, priority), count in sorted(dict(shedding.shed).items())
            ],
        ),
    ]
