"""What a leader election takes: one Lease, the right to it, and the way to the API."""

from typing import Any

import pytest

from app.lifecycle.settings import Kubernetes, LeaderElection
from tests.chart.cases import CASES
from tests.chart.helm import Helm, HelmError


@pytest.mark.parametrize("case", CASES)
def test_the_service_may_have_its_lease_and_no_other(helm: Helm, case: str) -> None:
    objects = helm.render(CASES[case])
    rules = [rule for rule in objects.one("Role")["rules"] if rule["resources"] == ["leases"]]
    for rule in rules:
        assert rule["apiGroups"] == ["coordination.k8s.io"]
        assert "delete" not in rule["verbs"]
    (create,) = [rule for rule in rules if "resourceNames" not in rule]
    assert create["verbs"] == ["create"], "which cannot be limited to a name"
    (named,) = [rule for rule in rules if "resourceNames" in rule]
    assert named["verbs"] == ["get", "update", "watch"]
    assert named["resourceNames"] == [objects.environment["APP_LEADER_ELECTION__LEASE"]]
    (subject,) = objects.one("RoleBinding")["subjects"]
    assert subject["name"] == objects.pod["serviceAccountName"]


def test_each_release_has_a_lease_of_its_own(helm: Helm) -> None:
    leases = {
        helm.render(release=release).environment["APP_LEADER_ELECTION__LEASE"]
        for release in ("blue", "green")
    }
    assert len(leases) == 2


def test_without_the_watch_of_endpoints_there_is_still_a_way_to_the_api(helm: Helm) -> None:
    objects = helm.render({**CASES["unwatched"], "networkPolicy": {"egress": []}})
    assert {rule["resources"][0] for rule in objects.one("Role")["rules"]} == {"leases"}
    mounts = {mount["mountPath"] for mount in objects.container["volumeMounts"]}
    assert Kubernetes().credentials in mounts
    _, api = objects.one("NetworkPolicy")["spec"]["egress"]
    assert {port["port"] for port in api["ports"]} == {443, 6443}


def test_defaults_are_those_of_the_service(
    helm: Helm, bare_environment: pytest.MonkeyPatch
) -> None:
    environment = helm.render().environment
    for name, value in LeaderElection().model_dump(exclude={"lease"}).items():
        assert float(environment[f"APP_LEADER_ELECTION__{name.upper()}"]) == value


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"renewSeconds": 15}, "leaseSeconds=15 is not above renewSeconds=15"),
        ({"retrySeconds": 9}, "renewSeconds=10 is not above 1.2 times retrySeconds=9"),
        ({"leaseSeconds": 12.5}, "leaseSeconds"),
    ],
)
def test_times_that_cannot_work_are_refused(helm: Helm, values: Any, sentence: str) -> None:
    with pytest.raises(HelmError, match=sentence):
        helm.render({"leaderElection": values})
