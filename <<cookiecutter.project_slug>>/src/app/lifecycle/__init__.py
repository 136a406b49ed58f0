"""How the service starts, drains and stops. It knows nothing of the routes.

The order of a stop::

    signals,                SIGTERM, SIGINT or the preStop hook requests the stop
    management/control
    phase                   DRAINING: readiness fails before anything else happens
    management/probes       the kubelet sees it, on a port and thread of its own
    http/traffic            the listener stays open; responses say ``Connection: close``
    drain                   decides when no new requests are expected:
                            min(limit, max(floor, endpoint gone + slack, last new request + quiet))
#% if cookiecutter.service_registry != "none"
    registration            meanwhile the service registry removes this pod's entry; readers of it
                            get time to notice
#% endif
    kubernetes/rotation     meanwhile watches whether the API has withdrawn the endpoint and
                            which pods answer at the Service's address
#% if cookiecutter.leader_election == "yes"
    kubernetes/leadership   ends the singletons; then another pod may lead
#% endif
    http/streams            SSE, record and WebSocket streams end, spread over a few seconds
    http/server             STOPPING: the listener closes, remaining requests are cancelled
    tasks, components       end in this order, each within its share of the budget
    children                processes that still run get SIGTERM
#% if cookiecutter.tracing == "opentelemetry"
    telemetry               spans that are still queued are sent, for two seconds at most
#% endif
    report                  STOPPED: one line sums up the stop and what it cut off
    stuck                   names what has not ended when a budget is over, and on SIGUSR1
    watchdog                ends the process before SIGKILL would

``stop`` is this order; ``service`` is the whole life. Read these two first.
"""
