"""The rollout drill: rehearse what happens to a release under load, and say what is lost.

    python -m drill --help

It renders the chart, does with it what Kubernetes would, sends traffic of every
kind meanwhile, and explains each request that was lost. To read it:

    scenarios/     what can happen; a file each, and the place for one of your own
    rehearsal.py   one scenario under load, from the installation to the last exit
    backend.py     what a scenario can do to a cluster, and what is recorded of it
    chart/         the chart, rendered and read as the kubelet reads it
    local/         a cluster of local processes: kubelet, Deployment, endpoints, API
    load/          the clients: an open loop of requests, streams, and their losses
    result/        explanations, the text, report.json and report.html
    compare.py     the same service without its lifecycle
"""
