"""What the pool measures, with the names of OpenTelemetry's conventions."""

from typing import Protocol

from app.database.loans import Loans
from app.database.queue import BOUNDS, Queue
from app.observability.histogram import Histogram
from app.observability.metrics import Family, Metric

NAME = "db_client_connection_pool_name"
STATE = "db_client_connection_state"
LABELS = {NAME: "database"}


class Times:
    """Histograms of a pool: to connect, to wait for a connection, to use it."""

    def __init__(self) -> None:
        self.families = [
            Histogram(f"db_client_connection_{what}_time_seconds", meaning, BOUNDS)
            for what, meaning in (
                ("create", "Time to open a connection to the database."),
                ("wait", "Time to get a connection from the pool."),
                ("use", "Time for which a connection was borrowed."),
            )
        ]
        self.create, self.wait, self.use = (one.series(LABELS) for one in self.families)


class Measured(Protocol):
    """A pool."""

    loans: Loans
    times: Times
    drops: int
    failures: int

    @property
    def queue(self) -> Queue: ...
    def idle(self) -> int: ...


def families(pool: Measured) -> list[Family]:
    """Every metric of ``pool``; any thread may ask."""
    queue, loans = pool.queue, pool.loans
    states = {"idle": pool.idle(), "used": len(loans.open)}
    counted = [({**LABELS, STATE: state}, count) for state, count in states.items()]

    def one(name: str, kind: str, meaning: str, value: float) -> Metric:
        return Metric(name, "counter" if kind == "counter" else "gauge", meaning, [(LABELS, value)])

    return [
        Metric(
            "db_client_connection_count",
            "gauge",
            "Connections to the database, by state.",
            counted,
        ),
        one("db_client_connection_max", "gauge", "Most connections of the pool.", queue.size()),
        one(
            "db_client_connection_pending_requests",
            "gauge",
            "How many wait for a connection.",
            queue.pending,
        ),
        one(
            "db_client_connection_timeouts_total",
            "counter",
            "How many got no connection in time.",
            queue.timeouts,
        ),
        *pool.times.families,
        one(
            "app_database_connect_failures_total",
            "counter",
            "Attempts to connect to the database that failed.",
            pool.failures,
        ),
        one(
            "app_database_connections_dropped_total",
            "counter",
            "Connections dropped because their server stops or is read-only.",
            pool.drops,
        ),
        one(
            "app_database_connections_leaked_total",
            "counter",
            "Connections held for longer than APP_DATABASE__LEAK_SECONDS, or never returned.",
            loans.leaks + loans.lost,
        ),
        one(
            "app_database_dirty_returns_total",
            "counter",
            "Connections and sessions returned with changes that nobody committed.",
            loans.dirty,
        ),
    ]
