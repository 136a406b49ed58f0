"""What the pool measures, with the names of OpenTelemetry's conventions."""

from typing import Protocol

from app.database.breaker import Breaker
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
        create = Histogram(
            "db_client_connection_create_time_seconds",
            "Time to open a connection to the database.",
            BOUNDS,
        )
        wait = Histogram(
            "db_client_connection_wait_time_seconds",
            "Time to get a connection from the pool.",
            BOUNDS,
        )
        use = Histogram(
            "db_client_connection_use_time_seconds",
            "Time for which a connection was borrowed.",
            BOUNDS,
        )
        self.families = [create, wait, use]
        self.create, self.wait, self.use = (one.series(LABELS) for one in self.families)


class Measured(Protocol):
    """A pool."""

    breaker: Breaker
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

    return [
        Metric(
            "db_client_connection_count",
            "gauge",
            "Connections to the database, by state.",
            counted,
        ),
        Metric(
            "db_client_connection_max",
            "gauge",
            "Most connections of the pool.",
            [(LABELS, queue.size())],
        ),
        Metric(
            "db_client_connection_pending_requests",
            "gauge",
            "How many wait for a connection.",
            [(LABELS, queue.pending)],
        ),
        Metric(
            "db_client_connection_timeouts_total",
            "counter",
            "How many got no connection in time.",
            [(LABELS, queue.timeouts)],
        ),
        *pool.times.families,
        Metric(
            "app_database_reachable",
            "gauge",
            "0 while the circuit breaker refuses requests because the database is away.",
            [(LABELS, int(not pool.breaker.reason))],
        ),
        Metric(
            "app_database_refused_total",
            "counter",
            "Transactions refused because the database was away.",
            [(LABELS, pool.breaker.refused)],
        ),
        Metric(
            "app_database_connect_failures_total",
            "counter",
            "Attempts to connect to the database that failed.",
            [(LABELS, pool.failures)],
        ),
        Metric(
            "app_database_connections_dropped_total",
            "counter",
            "Connections dropped because their server stops or is read-only.",
            [(LABELS, pool.drops)],
        ),
        Metric(
            "app_database_connections_leaked_total",
            "counter",
            "Connections held for longer than APP_DATABASE__LEAK_SECONDS, or never returned.",
            [(LABELS, loans.leaks + loans.lost)],
        ),
        Metric(
            "app_database_dirty_returns_total",
            "counter",
            "Connections and sessions returned with changes that nobody committed.",
            [(LABELS, loans.dirty)],
        ),
    ]
