"""``python -m app whoami``: which pod this is, and the state of its endpoint."""

import textwrap
from collections.abc import Callable, Iterator

from app.lifecycle.kubernetes.identity import Cluster, Identity
from app.settings import Settings
from app.wiring import cluster

Facts = Iterator[tuple[str, str]]


def render(settings: Settings) -> str:
    """A line for each fact; one that is unknown says why."""
    identity, asked = Identity.from_environment(), cluster(settings)
    parts: list[Callable[[Identity, Cluster], Facts]] = [_pod, _endpoint]
#% if cookiecutter.leader_election == "yes"
    parts.append(lambda identity, _: _leader(identity, settings))
#% endif
#% if cookiecutter.service_registry != "none"
    parts.append(lambda *_: _registry(settings))
#% endif
    facts = [fact for part in parts for fact in part(identity, asked)]
    return "\n".join(
        textwrap.fill(f"{name:<10}{value}", 100, subsequent_indent=" " * 10, break_long_words=False)
        for name, value in facts
    )


def _pod(identity: Identity, _: Cluster) -> Facts:
    yield "pod", identity.pod or "unknown: POD_NAME is not set"
    addresses = " ".join(identity.addresses)
    more = {"uid": identity.uid, "addresses": addresses, "image": identity.image}
    known = {**identity.fields(), **more}
    yield from ((name, value) for name, value in known.items() if value and name != "pod")


#% if cookiecutter.leader_election == "yes"
def _leader(identity: Identity, settings: Settings) -> Facts:
    """Which pod leads, from the Lease."""
    import asyncio

    from app.components import lease

    yield "leader", asyncio.run(lease.describe(settings, identity.pod))


#% endif
#% if cookiecutter.service_registry != "none"
def _registry(settings: Settings) -> Facts:
    """What readers of the service registry see of this pod."""
    import asyncio

    from app.registry import registrar

    if settings.registry.url:
        yield "registry", asyncio.run(registrar.describe(settings.registry, settings.port))


#% endif
def _endpoint(identity: Identity, asked: Cluster) -> Facts:
    """The state of the endpoint in each Service."""
    from app.lifecycle.kubernetes.api import KubeApi, explain
    from app.lifecycle.kubernetes.endpoint import EndpointState, OwnEndpoint

    if not asked.services:
        yield "endpoint", "not watched: APP_KUBERNETES__SERVICES is empty"
        return
    names = [service.name for service in asked.services]
    try:
        slices = list(KubeApi(asked, identity.namespace, names).slices())
        for name in names:
            own = OwnEndpoint(identity, [name])
            own.replace(slices)
            state = own.state()
            place = f"{state.value} in Service {name}"
            if state is EndpointState.UNKNOWN:
                place = f"not among the endpoints of Service {name}"
            yield "endpoint", f"{place}; other pods in rotation: {own.pods(name) - 1}"
    except Exception as error:  # whatever the API responds
        yield "endpoint", f"unknown: {explain(error)}"
