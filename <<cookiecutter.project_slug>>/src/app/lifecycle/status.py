"""The content of ``/statusz``: what this pod is, does and waits for.

Imported when somebody asks for it. The management thread collects it while the main thread
runs, so whatever that changes is copied before it is iterated.
"""

import heapq
import math
import os
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from pydantic import BaseModel

from app.lifecycle.checks import Checks
from app.lifecycle.components import Components
from app.lifecycle.drain import Rotation
from app.lifecycle.http.exchange import Exchange
from app.lifecycle.http.route import UNMATCHED, route_of
from app.lifecycle.http.server import HttpServer
from app.lifecycle.http.traffic import Traffic
from app.lifecycle.kubernetes.identity import Cluster, Identity
from app.lifecycle.machine import memory, memory_limit, open_files, versions
from app.lifecycle.management.probes import Probes
from app.lifecycle.phase import Lifecycle
from app.lifecycle.report import Journal
from app.lifecycle.stuck import Stuck
from app.lifecycle.tasks import Tasks
from app.observability.lines import masked
from app.observability.logging import request_id_of

if TYPE_CHECKING:
    from app.lifecycle.http.shedding import Shedding

#: How many requests and streams are listed: the oldest.
MOST = 50
#: Longest path that is shown, in characters, where there is no route.
LONGEST_PATH = 100

Json = dict[str, object]


class Parts(Protocol):
    """The service."""

    lifecycle: Lifecycle
    probes: Probes
    traffic: Traffic
    checks: Checks
    tasks: Tasks
    components: Components
    journal: Journal
    stuck: Stuck
    shedding: "Shedding | None"


@runtime_checkable
class Reporting(Protocol):
    """The value of a component that shows its state; asked from any thread."""

    def status(self) -> Json: ...


def collect(
    service: Parts,
    server: HttpServer,
    identity: Identity,
    cluster: Cluster,
    settings: BaseModel | None,
) -> Json:
    """Everything, by keys that people may rely on."""
    lifecycle, traffic, tasks = service.lifecycle, service.traffic, service.tasks
    components, shedding = service.components, service.shedding
    ready, streams, running = service.probes.readyz(), set(traffic.open_streams), tasks.names()
    return {
        **identity.fields(),
        "now": _stamp(time.time()),
        "phase": lifecycle.phase.label,
        "reason": lifecycle.reason,
        "ready": ready.ok,
        "why": ready.reason,
        "history": list(_history(lifecycle)),
        "stop": [step.text.strip() for step in list(service.journal.steps)],
        "cut_in_seconds": _finite(lifecycle.until_cut()),
        "killed_in_seconds": _finite(lifecycle.remaining()),
        "in_flight": traffic.in_flight,
        "streams": len(streams),
        "requests": _oldest(one for one in list(traffic.exchanges) if one not in streams),
        "open_streams": _oldest(streams),
        "event_loop_stalled_seconds": round(service.probes.heartbeat.stalled(), 3),
        **({} if shedding is None else {"shedding": shedding.status()}),
        "tasks": running,
        "task_failures": dict(tasks.failures),
        "periodic_tasks": {name: _rounds(tasks, name, running) for name in list(tasks.rounds)},
        "requests_cancelled": dict(traffic.cancelled),
        "overdue_threads": traffic.overdue_threads.count,
        "busy_threads": traffic.overdue_threads.status(),
        "still_running": _found(service.stuck),
        "checks": service.checks.results(),
        "components": {name: _component(components, name) for name in components.needs},
        "component_status": {
            name: value.status()
            for name, value in components.opened()
            if isinstance(value, Reporting)
        },
        "connections": _connections(server),
        "keep_alive_seconds": server.connections.keep_alive.seconds,
        "limits": _limits(server, traffic, shedding),
        "identity": _identity(identity),
        "endpoint": _endpoint(cluster, traffic.rotation),
#% if cookiecutter.leader_election == "yes"
        "leadership": tasks.leadership.status(),
#% endif
#% if cookiecutter.service_registry != "none"
        "registration": traffic.registration.status(),
#% endif
        "process": _process(lifecycle),
        "versions": versions(),
        "settings": dict(_settings(settings)) if settings else {},
    }


def _stamp(seconds: float) -> str:
    """A Unix time as ISO 8601."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def _finite(seconds: float) -> float | None:
    return round(seconds, 3) if math.isfinite(seconds) else None


def _history(lifecycle: Lifecycle) -> Iterator[Json]:
    """The phases so far, each with its time and reason."""
    now, clock = time.time(), time.monotonic()
    entered = [*dict(lifecycle.entered).items()]
    ends = [*(at for _, at in entered[1:]), clock]
    for (phase, at), end in zip(entered, ends, strict=True):
        yield {
            "phase": phase.label,
            "at": _stamp(now - clock + at),
            "seconds": round(end - at, 3),
            "reason": lifecycle.reasons.get(phase, ""),
        }


def _oldest(exchanges: Iterable[Exchange]) -> list[Json]:
    found = heapq.nsmallest(MOST, exchanges, key=lambda one: one.began)
    now = time.monotonic()
    return [_exchange(one, now) for one in found]


def _exchange(one: Exchange, now: float) -> Json:
    """What the access log will say of it, and nothing more.

    An id that is not known yet is not made here: the main thread could make another.
    """
    route = route_of(one.scope)
    given = [header for header in one.scope["headers"] if header[0] == b"x-request-id"]
    state = "ending" if one.ended else "responding" if one.status else "no response yet"
    return {
        "method": one.method,
        **({"path": one.path[:LONGEST_PATH]} if route == UNMATCHED else {}),
        "route": None if route == UNMATCHED else route,
        "seconds": round(now - one.began, 3),
        "request_id": vars(one).get("request_id") or (request_id_of(given) if given else ""),
        "state": "background work" if one.complete else state,
    }


def _rounds(tasks: Tasks, name: str, running: Collection[str]) -> Json:
    one = tasks.rounds[name]
    last, due = one.last_run, one.next_run
    return {
        "every_seconds": one.seconds,
        "running": bool(last) and not due and name in running,
        "runs": one.runs,
        "failures": tasks.failures.get(name, 0),
        "last_run": None if last is None else _stamp(last),
        "next_run": None if due is None else _stamp(due),
    }


def _component(components: Components, name: str) -> Json:
    return {
        "state": components.states[name],
        "needs": sorted(components.needs[name]),
        "level": components.levels[name],
        "budget_seconds": components.budgets[name],
        "start_seconds": components.start_seconds.get(name),
        "stop_seconds": components.seconds.get(name),
    }


def _found(stuck: Stuck) -> Json | None:
    """What was listed last: on SIGUSR1, or when a budget of the stop was over."""
    if (last := stuck.last) is None:
        return None
    return {
        "at": last.at,
        "time": _stamp(last.when),
        "found": [{**asdict(one), "seconds": one.age} for one in last.held],
    }


def _connections(server: HttpServer) -> Json:
    connections = server.connections
    return {
        "open": len(connections.connections),
        "websockets": connections.websockets,
        "accepted": connections.accepted,
        "refused": connections.refused,
        "websockets_refused": connections.websockets_refused,
        "closed": dict(connections.closed),
    }


def _limits(server: HttpServer, traffic: Traffic, shedding: "Shedding | None") -> Json:
    """What there is of each, and how much there may be; None: no limit."""
    connections, most = server.connections, None if shedding is None else shedding.limit
    found: dict[str, tuple[float | None, float | None]] = {
        "requests_in_flight": (traffic.in_flight, most),
        "connections": (len(connections.connections), connections.limit),
        "websockets": (connections.websockets, connections.limits.websockets),
        "memory_bytes": (memory("VmRSS"), memory_limit()),
        "open_files": (open_files(), os.sysconf("SC_OPEN_MAX")),
    }
    return {name: {"now": now, "limit": limit} for name, (now, limit) in found.items()}


def _identity(identity: Identity) -> Json:
    known = {**identity.fields(), "uid": identity.uid, "image": identity.image}
    return {**known, "addresses": list(identity.addresses)}


def _endpoint(cluster: Cluster, rotation: Rotation | None) -> Json:
    """Whether routers still send connections here, as far as the drain knows."""
    found: Json = {"services": [service.name for service in cluster.services]}
    if not cluster.services:
        return {**found, "state": "not watched: APP_KUBERNETES__SERVICES is empty"}
    if rotation is None:
        return {**found, "state": "watched during a stop"}
    if rotation.gone is None:
        return {**found, "state": "cannot be watched: the drain uses its fallback"}
    now = time.monotonic()
    if not math.isfinite(rotation.gone):
        found["state"] = "in rotation"
    else:
        found["state"] = f"withdrawn {now - rotation.gone:.1f} s ago"
    if math.isfinite(rotation.own_answer):
        found["reached_itself"] = f"{now - rotation.own_answer:.1f} s ago"
    return {**found, **({"unsure": rotation.unsure} if rotation.unsure else {})}


def _process(lifecycle: Lifecycle) -> Json:
    now = time.monotonic()
    return {
        "pid": os.getpid(),
        "uptime_seconds": round(now - min(dict(lifecycle.entered).values()), 1),
        "cpu_seconds": round(time.process_time(), 2),
        "memory_bytes": memory("VmRSS"),
        "peak_memory_bytes": memory("VmHWM"),
    }


def _settings(settings: BaseModel, prefix: str | None = None) -> Iterator[tuple[str, Json]]:
    """For each variable its ``value``, without what is secret, and whether it was ``set``."""
    if prefix is None:
        prefix = str(settings.model_config.get("env_prefix", ""))
    for name in type(settings).model_fields:
        variable, value = f"{prefix}{name}".upper(), getattr(settings, name)
        if isinstance(value, BaseModel):
            yield from _settings(value, f"{variable}__")
        else:
            given = name in settings.model_fields_set
            yield variable, {"value": masked(variable, value), "set": given}
