"""The Job that migrates: before all else, without rights, with the same settings as the service."""

from typing import Any

import pytest

from app.environment import load
from tests.chart.cases import CASES
from tests.chart.helm import Helm, HelmError, Manifest, Objects


def job(objects: Objects) -> Manifest:
    return objects.one("Job")


def container(objects: Objects) -> Manifest:
    found: Manifest = job(objects)["spec"]["template"]["spec"]["containers"][0]
    return found


def test_it_runs_before_each_installation_and_upgrade(helm: Helm) -> None:
    objects = helm.render()
    annotations = job(objects)["metadata"]["annotations"]
    assert annotations["helm.sh/hook"] == "pre-install,pre-upgrade"
    policy = annotations["helm.sh/hook-delete-policy"]
    assert policy == "before-hook-creation,hook-succeeded", "a failed one stays, for its log"
    assert container(objects)["args"] == ["migrate"]
    assert container(objects)["command"] == objects.container["command"]
    assert container(objects)["image"] == objects.container["image"]


@pytest.mark.parametrize("case", CASES)
def test_it_needs_nothing_that_the_release_brings(helm: Helm, case: str) -> None:
    objects = helm.render(CASES[case])
    spec = job(objects)["spec"]["template"]["spec"]
    brought = {one["metadata"]["name"] for one in objects.all("ConfigMap")}
    assert not [one for one in container(objects).get("envFrom", ()) if "configMapRef" in one]
    assert not brought & {one.get("configMap", {}).get("name") for one in spec.get("volumes", ())}
    accounts = {one["metadata"]["name"]: one for one in objects.all("ServiceAccount")}
    if spec["serviceAccountName"] != "default":
        account = accounts[spec["serviceAccountName"]]["metadata"]["annotations"]
        assert account["helm.sh/hook"] == "pre-install,pre-upgrade"
        before = int(job(objects)["metadata"]["annotations"]["helm.sh/hook-weight"])
        assert int(account["helm.sh/hook-weight"]) < before


@pytest.mark.parametrize("case", CASES)
def test_it_may_do_nothing_in_the_cluster(helm: Helm, case: str) -> None:
    objects = helm.render(CASES[case])
    spec = job(objects)["spec"]["template"]["spec"]
    assert spec["automountServiceAccountToken"] is False
    subjects = [one["name"] for role in objects.all("RoleBinding") for one in role["subjects"]]
    assert spec["serviceAccountName"] not in subjects
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert container(objects)["securityContext"] == objects.container["securityContext"]


@pytest.mark.parametrize("case", CASES)
def test_the_service_does_not_send_it_requests(helm: Helm, case: str) -> None:
    objects = helm.render(CASES[case])
    labels = job(objects)["spec"]["template"]["metadata"]["labels"]
    for service in objects.all("Service"):
        assert not service["spec"]["selector"].items() <= labels.items()


@pytest.mark.parametrize("case", CASES)
def test_it_takes_every_setting_of_the_chart(
    helm: Helm, case: str, bare_environment: pytest.MonkeyPatch
) -> None:
    for variable in container(helm.render(CASES[case]))["env"]:
        if "value" in variable:
            bare_environment.setenv(variable["name"], variable["value"])
    load()


def test_the_address_comes_from_the_same_secret(helm: Helm) -> None:
    values = {
        "database": {"secret": "pg", "secretKey": "app"},
        "migrations": {"secretKey": "owner"},
    }
    objects = helm.render(values)

    def keys(env: list[Manifest]) -> dict[str, Any]:
        found = {one["name"]: one.get("valueFrom", {}).get("secretKeyRef") for one in env}
        return {name: key for name, key in found.items() if key}

    service = {"APP_DATABASE__URL": {"name": "pg", "key": "app"}}
    assert keys(objects.container["env"]) == service
    owner = {"APP_MIGRATIONS__URL": {"name": "pg", "key": "owner"}}
    assert keys(container(objects)["env"]) == service | owner


def test_it_can_be_left_out(helm: Helm) -> None:
    objects = helm.render({"migrations": {"enabled": False}})
    assert objects.all("Job") == []
    assert len(objects.all("ServiceAccount")) == 1


def test_a_longest_name_is_not_too_long(helm: Helm) -> None:
    objects = helm.render(release="r" * 53)
    assert len(job(objects)["metadata"]["name"]) <= 63


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"migrations": {"deadlineSeconds": 180}},
            "deadlineSeconds=180 is not above waitSeconds=180",
        ),
        ({"migrations": {"secretKey": "owner"}}, "is a key of database.secret, which is empty"),
        ({"migrations": {"lockSeconds": 0}}, "lockSeconds"),
    ],
)
def test_values_that_cannot_work_are_refused(helm: Helm, values: Any, sentence: str) -> None:
    with pytest.raises(HelmError, match=sentence):
        helm.render(values)
