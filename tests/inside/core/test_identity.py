"""Which pod it is: in every line of the log, in the report, and for whoever asks inside of it."""

from collections.abc import Iterator

import pytest

from tests.conftest import Start
from tests.kube import KubeApi, endpoint, endpoint_slice, serving
from tests.test_command import command

POD = {
    "POD_NAME": "web-1",
    "POD_NAMESPACE": "prod",
    "NODE_NAME": "node-a",
    "POD_ZONE": "eu-1a",
    "POD_UID": "5b1f",
    "POD_IPS": "10.1.0.7,fd00::7",
}
FIELDS = {"pod": "web-1", "namespace": "prod", "node": "node-a", "zone": "eu-1a"}


@pytest.fixture
def api() -> Iterator[KubeApi]:
    with serving() as api:
        yield api


def test_every_line_says_which_pod(serve: Start) -> None:
    service = serve("tests.apps.requests", **POD)
    service.get("/slow?seconds=0")
    service.get("/fail")
    service.signal()
    service.ended()
    assert {line["event"] for line in service.lines()} >= {"phase", "request", "stop", "stopped"}
    for line in service.lines():
        assert line.items() >= FIELDS.items(), line


def test_the_status_says_which_pod(serve: Start) -> None:
    assert serve(**POD).status().items() >= FIELDS.items()


def test_what_is_not_known_is_not_said(serve: Start) -> None:
    service = serve(POD_NAME="web-1", POD_ZONE="")
    service.get("/hello")
    service.signal()
    service.ended()
    for line in service.lines():
        assert line["pod"] == "web-1"
        assert not {"namespace", "node", "zone"} & line.keys()


def whoami(api: KubeApi, **settings: str) -> list[str]:
    known = {**POD, "APP_KUBERNETES__SERVICES": "web", "APP_KUBERNETES__API": api.url}
    done = command("whoami", **{**known, **settings})
    assert (done.returncode, done.stderr) == (0, "")
    said = done.stdout
#% if cookiecutter.leader_election == "yes"
    said, _, _ = said.partition("leader ")  # the last fact, which is that of other tests
#% endif
    return said.splitlines()


@pytest.mark.parametrize(
    ("ready", "said"), [(True, "in rotation in Service web"), (False, "withdrawn in Service web")]
)
def test_whoami(api: KubeApi, ready: bool, said: str) -> None:
    api.put(endpoint_slice(endpoint("web-1", ready=ready), endpoint("web-2"), endpoint("web-3")))
    assert whoami(api) == [
        "pod       web-1",
        "namespace prod",
        "node      node-a",
        "zone      eu-1a",
        "uid       5b1f",
        "addresses 10.1.0.7 fd00::7",
        f"endpoint  {said}; other pods in rotation: 2",
    ]
    assert [what for what, query in api.asked if "labelSelector" in query] == ["list"]


def test_whoami_of_several_services(api: KubeApi) -> None:
    api.put(endpoint_slice(endpoint("web-1")))
    *_, web, admin = whoami(api, APP_KUBERNETES__SERVICES="web,admin")
    assert web == "endpoint  in rotation in Service web; other pods in rotation: 0"
    assert "not among the endpoints of Service admin" in admin


def test_whoami_without_permission(api: KubeApi) -> None:
    api.fail("403")
    assert "endpoint  unknown: no permission to list and watch" in whoami(api)[-1]


def test_whoami_outside_of_kubernetes() -> None:
    done = command("whoami")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "pod       unknown: POD_NAME is not set",
        "endpoint  not watched: APP_KUBERNETES__SERVICES is empty",
#% if cookiecutter.leader_election == "yes"
        "leader    unknown: not in Kubernetes: KUBERNETES_SERVICE_HOST is not set",
#% endif
    ]


def test_whoami_with_wrong_settings() -> None:
    done = command("whoami", APP_PORT="x")
    assert (done.returncode, done.stdout) == (2, "")
