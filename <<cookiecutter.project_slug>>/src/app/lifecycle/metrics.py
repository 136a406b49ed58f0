"""The metrics of the lifecycle.

The management thread reads them while the main thread runs, so sets of the main
thread are copied before they are iterated.
"""

import time
from typing import TYPE_CHECKING

from app.lifecycle.checks import Checks
from app.lifecycle.http.connections import Connections
from app.lifecycle.http.traffic import Traffic
from app.lifecycle.management.probes import Probes
from app.lifecycle.phase import Lifecycle, Phase
from app.lifecycle.tasks import Tasks
from app.observability.metrics import Metric

if TYPE_CHECKING:
    from app.lifecycle.http.shedding import Shedding

#: Unix time of the import.
STARTED = time.time()


def measures(
    *,
    lifecycle: Lifecycle,
    probes: Probes,
    traffic: Traffic,
    connections: Connections,
    shedding: "Shedding | None",
    checks: Checks,
    tasks: Tasks,
    log_lines_dropped: int,
) -> list[Metric]:
    """The current value of every metric."""
    phase = lifecycle.phase
    return [
        Metric(
            "app_phase",
            "gauge",
            "1 for the current phase, 0 for the others.",
            [({"phase": one.label}, int(one is phase)) for one in Phase],
        ),
        _gauge("app_ready", "Whether /readyz responds with 200.", int(probes.readyz().ok)),
        _gauge(
            "app_requests_in_flight",
            "Requests that are not done, their background work included; no streams.",
            traffic.in_flight,
        ),
        _gauge(
            "app_streams_open",
            "Streams of events or records and WebSockets that have not ended.",
            len(traffic.open_streams),
        ),
        Metric(
            "app_requests_cancelled_total",
            "counter",
            "Requests whose handler was cancelled, by cause.",
            [({"cause": cause}, n) for cause, n in sorted(dict(traffic.cancelled).items())],
        ),
        _gauge(
            "app_threads_overdue",
            "Threads of def endpoints that go on after their request was cancelled.",
            traffic.overdue_threads.count,
        ),
        _gauge(
            "app_connections_open",
            "Connections to the main port; WebSockets are among them.",
            len(connections.connections),
        ),
        Metric(
            "app_connections_accepted_total",
            "counter",
            "Connections to the main port so far.",
            [({}, connections.accepted)],
        ),
        Metric(
            "app_connections_refused_total",
            "counter",
            "Connections to the main port closed at once because of their limit.",
            [({}, connections.refused)],
        ),
        Metric(
            "app_websockets_refused_total",
            "counter",
            "WebSockets that were refused because too many were open.",
            [({}, connections.websockets_refused)],
        ),
        Metric(
            "app_connections_closed_total",
            "counter",
            "Connections to the main port that the service closed for this reason.",
            [({"reason": reason}, count) for reason, count in connections.closed.items()],
        ),
        _gauge(
            "app_keep_alive_seconds",
            "Time after which idle connections to the main port are closed, at present.",
            connections.keep_alive.seconds,
        ),
        *_shedding(shedding),
        _gauge(
            "app_event_loop_stalled_seconds",
            "Time for which the event loop has not turned; 0 while it does.",
            probes.heartbeat.stalled(),
        ),
        _gauge(
            "app_drain_seconds",
            "Time since the stop was asked for; 0 before.",
            lifecycle.elapsed(),
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
        Metric(
            "app_task_failures_total",
            "counter",
            "How many times background work of this name raised.",
            [({"task": name}, count) for name, count in sorted(dict(tasks.failures).items())],
        ),
#% if cookiecutter.leader_election == "yes"
        _gauge(
            "app_leader",
            "Whether this pod leads, and with that runs the singletons.",
            int(tasks.leadership.leads),
        ),
        Metric(
            "app_leader_changes_total",
            "counter",
            "Changes of leader that this pod saw.",
            [({}, tasks.leadership.changes)],
        ),
        Metric(
            "app_singletons_cut_total",
            "counter",
            "How many rounds of a singleton of this name were cut off.",
            [({"task": name}, count) for name, count in sorted(dict(tasks.leadership.cut).items())],
        ),
#% endif
        Metric(
            "app_log_lines_dropped_total",
            "counter",
            "Log lines that were not written: standard output was blocked or broken.",
            [({}, log_lines_dropped)],
        ),
        _gauge("app_tasks_running", "Background tasks that run.", len(tasks.names())),
        _gauge(
            "process_start_time_seconds",
            "Unix time at which the process started, but for its imports.",
            STARTED,
        ),
    ]


def _shedding(shedding: "Shedding | None") -> list[Metric]:
    """Metrics of load shedding, where it is on."""
    if shedding is None:
        return []
    return [
        _gauge("app_in_flight_limit", "Requests that may be in flight now.", shedding.limit),
        _gauge(
            "app_requests_queued",
            "Requests that wait until others are done.",
            shedding.queued,
        ),
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


def _gauge(name: str, meaning: str, value: float) -> Metric:
    """A metric without labels that goes up and down."""
    return Metric(name, "gauge", meaning, [({}, value)])
