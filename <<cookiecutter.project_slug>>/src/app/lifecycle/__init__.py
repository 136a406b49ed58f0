"""How this service starts, drains and stops. Knows nothing of its routes.

A stop, in the order in which it happens::

    signals, control    SIGTERM, SIGINT or the preStop hook asks for a stop
    phase               DRAINING: readiness is false before anything else happens
    probes, management  the kubelet reads it on a port of its own, from a thread of its own
    traffic             the listener stays open; every answer says ``Connection: close``
    drain               when arrivals are over: min(limit, max(floor, endpoint gone + slack,
                        last arrival + quiet))
    rotation            meanwhile: has the API withdrawn the endpoint (endpoint, kube_api), and who
                        answers at the Service's address (dataplane)?
#% if cookiecutter.leader_election == "yes"
    leadership          singletons end, then another pod may lead; singletons sees to the former
#% endif
    streams             SSE, record and WebSocket streams end, spread over a few seconds (records:
                        where one record ends)
    server              STOPPING: listener closed, stragglers cancelled
    tasks, components   ended in this order, each within its share of the time (budget)
    children            processes that still run below this one get SIGTERM
    report              STOPPED: one line says what the stop took and what it cut
    watchdog            ends the process before SIGKILL would, and says what was stuck

Before all that ``ports`` opens the management port, on which ``server`` bounds what a client
may do, and for each request ``forwarded`` says who its client is when a proxy is in front.
``service`` runs them in this order; it is the file to read first.
"""
