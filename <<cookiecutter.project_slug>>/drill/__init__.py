"""The rollout drill: rehearse a rolling restart under load and count what is lost.

    python -m drill

It starts the service as several processes, each standing for a pod, sends them
traffic of every kind, replaces them one by one as a Deployment would, and says
what the clients lost. In the order of a rehearsal:

    rollout.py     the plan and its steps; where another scenario would go
    cluster.py     a stand-in for a cluster: addresses for pods, pods by name
    pods.py        one pod: started, probed, preStopped, signalled and killed
    processes.py   processes that cannot outlive the drill
    endpoints.py   which pods the clients see, and how late
    load.py        the clients: an open loop of requests
    traffic.py     what all clients share: the endpoints they see, what they call
    streams.py     the clients that hold a stream open: SSE and WebSocket
    client.py      HTTP/1.1, small enough to tell how a request failed
    loss.py        the ways to be lost
    ledger.py      what came of every request
    logs.py        what a pod says about its own stop
    report.py      the verdict, as text
"""
