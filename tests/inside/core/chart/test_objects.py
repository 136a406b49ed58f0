"""What stands in the objects, and why it must."""

from pathlib import Path
from typing import Any

import pytest

from app.lifecycle.settings import Kubernetes
from tests.chart.cases import CASES, DIGEST
from tests.chart.helm import Helm


@pytest.mark.parametrize("case", CASES)
def test_pods_have_no_more_rights_than_they_need(helm: Helm, case: str) -> None:
    objects = helm.render(CASES[case])
    for spec in [objects.pod, *(o["spec"] for o in objects if o["kind"] == "Pod")]:
        pod, container = spec["securityContext"], spec["containers"][0]["securityContext"]
        assert pod["runAsNonRoot"] is True
        assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
        assert isinstance(pod.get("runAsUser", 1), int), "a name cannot be checked"
        assert container == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert spec["enableServiceLinks"] is False


def test_no_token_without_need(helm: Helm) -> None:
    objects = helm.render()
    assert objects.pod["automountServiceAccountToken"] is False
    for account in objects.all("ServiceAccount"):
        assert account["automountServiceAccountToken"] is False
    assert helm.render(CASES["all-typed"]).pod["automountServiceAccountToken"] is True


def test_the_service_may_watch_endpoints_and_nothing_else(helm: Helm) -> None:
    objects = helm.render()
    role, binding = objects.one("Role"), objects.one("RoleBinding")
    rules = role["rules"]
#% if cookiecutter.leader_election == "yes"
    rules = [rule for rule in rules if rule["resources"] != ["leases"]]
#% endif
    assert rules == [
        {
            "apiGroups": ["discovery.k8s.io"],
            "resources": ["endpointslices"],
            "verbs": ["get", "list", "watch"],
        }
    ]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    (subject,) = binding["subjects"]
    account = objects.pod["serviceAccountName"]
    assert (subject["name"], subject["namespace"]) == (account, "prod")
    assert account in [one["metadata"]["name"] for one in objects.all("ServiceAccount")]


@pytest.mark.parametrize("case", CASES)
def test_the_watched_service_is_the_one_that_is_made(helm: Helm, case: str) -> None:
    objects = helm.render(CASES[case])
    # There may be others, such as the one of a ServiceMonitor for the management port.
    made = {one["metadata"]["name"]: one["spec"]["ports"][0] for one in objects.all("Service")}
    first = objects.environment["APP_KUBERNETES__SERVICES"].partition(",")[0]
    name, _, port = first.partition(":")
    if case in ("edge", "unwatched"):
        assert name == port == ""
    else:
        assert name == objects.owner["metadata"]["name"]
        assert port in ("", str(made[name]["port"]))


def test_the_token_is_the_services_alone_and_where_it_looks_for_it(helm: Helm) -> None:
    objects = helm.render({"sidecars": [{"name": "proxy", "image": "proxy:1"}]})
    volumes = {volume["name"]: volume for volume in objects.pod["volumes"]}
    mounts = {mount["mountPath"]: mount for mount in objects.container["volumeMounts"]}
    mount = mounts[str(Kubernetes().credentials)]
    assert mount["readOnly"] is True
    sources = volumes[mount["name"]]["projected"]["sources"]
    files = [sources[0]["serviceAccountToken"]["path"], sources[1]["configMap"]["items"][0]["path"]]
    assert files == ["token", "ca.crt"]
    assert "volumeMounts" not in objects.pod["initContainers"][0]


#% if cookiecutter.leader_election == "no"
def test_without_watching_there_is_neither_token_nor_role(helm: Helm) -> None:
    values: Any = {"shutdown": {"watchEndpoints": False}, "networkPolicy": {"egress": []}}
#% if cookiecutter.mesh != "none"
    values["mesh"] = {"enabled": False}  # whose proxy has its own
#% endif
    objects = helm.render(values)
    assert objects.all("Role") == objects.all("RoleBinding") == []
    assert not [volume for volume in objects.pod["volumes"] if "projected" in volume]
    assert objects.environment["APP_KUBERNETES__SERVICES"] == ""
    (rule,) = objects.one("NetworkPolicy")["spec"]["egress"]
    assert {port["port"] for port in rule["ports"]} == {53}


#% endif
@pytest.mark.parametrize("case", CASES)
def test_everything_is_in_the_namespace_of_the_release(helm: Helm, case: str) -> None:
    assert {document["metadata"]["namespace"] for document in helm.render(CASES[case])} == {"prod"}


@pytest.mark.parametrize("case", CASES)
def test_selectors_find_the_pods_and_not_those_of_the_tests(helm: Helm, case: str) -> None:
    objects = helm.render(CASES[case])
    labels = objects.owner["spec"]["template"]["metadata"]["labels"]
    selectors = [o["spec"]["selector"] for o in objects.all("Service")]
    selector = selectors[0]
    selectors += [objects.owner["spec"]["selector"]["matchLabels"]]
    selectors += [o["spec"]["selector"]["matchLabels"] for o in objects.all("PodDisruptionBudget")]
    selectors += [o["spec"]["podSelector"]["matchLabels"] for o in objects.all("NetworkPolicy")]
    selectors += [o["spec"]["selector"]["matchLabels"] for o in objects.all("PodMonitor")]
    assert all(labels.items() >= one.items() for one in selectors)
    (test,) = [o for o in objects if o["kind"] == "Pod"]
    assert not test["metadata"]["labels"].items() >= selector.items()


@pytest.mark.parametrize("changed", [{"labels": {"a": "b"}}, {"image": {"tag": "2"}}])
def test_the_selector_never_changes(helm: Helm, changed: Any) -> None:
    before, after = helm.render(), helm.render(changed)
    assert (
        before.one("Deployment")["spec"]["selector"] == after.one("Deployment")["spec"]["selector"]
    )


def test_a_longest_name_is_no_name_too_long(helm: Helm) -> None:
    for document in helm.render(release="r" * 53):
        assert len(document["metadata"]["name"]) <= 63
        assert all(len(value) <= 63 for value in document["metadata"]["labels"].values())


def test_an_image_by_digest_has_no_tag(helm: Helm) -> None:
    image = helm.render(CASES["all-typed"]).container["image"]
    assert image == f"registry.example.com:5000/a/b@{DIGEST}"


def test_a_rollout_takes_nothing_away_before_it_has_a_better_one(helm: Helm) -> None:
    spec = helm.render().one("Deployment")["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": "25%", "maxUnavailable": 0}
    assert spec["minReadySeconds"] == 5
    assert "minReadySeconds" not in spec["template"]["spec"]


def test_what_the_service_writes_to_is_the_pods_own(helm: Helm) -> None:
    objects = helm.render()
    places = {mount["mountPath"]: mount["name"] for mount in objects.container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in objects.pod["volumes"]}
    socket = Path(objects.environment["APP_CONTROL_SOCKET"])
    for folder in (str(socket.parent), "/tmp"):
        assert "sizeLimit" in volumes[places[folder]]["emptyDir"]


def test_pods_of_a_new_configuration_are_new(helm: Helm) -> None:
    def checksum(values: Any) -> Any:
        template = helm.render(values).one("Deployment")["spec"]["template"]
        return template["metadata"]["annotations"].get("checksum/config")

    first, second = ({"config": {"APP_LOG__LEVEL": level}} for level in ("info", "debug"))
    assert checksum(first) == checksum(first) != checksum(second)
    assert checksum({}) is None


def test_sidecars_start_before_all_else(helm: Helm) -> None:
    containers = helm.render(CASES["all-typed"]).pod["initContainers"]
    assert [(c["name"], c.get("restartPolicy")) for c in containers] == [
        ("proxy", "Always"),
        ("migrate", None),
    ]


def test_routes_lead_to_the_service(helm: Helm) -> None:
    objects = helm.render(CASES["all-typed"])
    service = next(one for one in objects.all("Service") if one["metadata"]["name"] == "other")
    backend, _canary = objects.one("HTTPRoute")["spec"]["rules"][0]["backendRefs"]
    assert backend == {
        "name": "other",
        "port": service["spec"]["ports"][0]["port"],
        "weight": 75,
    }
    for rule in objects.one("Ingress")["spec"]["rules"]:
        for path in rule["http"]["paths"]:
            assert path["backend"]["service"] == {"name": "other", "port": {"name": "http"}}


def test_a_test_leaves_its_pod_behind_only_when_it_failed(helm: Helm) -> None:
    (test,) = [o for o in helm.render() if o["kind"] == "Pod"]
    policy = test["metadata"]["annotations"]["helm.sh/hook-delete-policy"]
    assert policy.split(",") == ["before-hook-creation", "hook-succeeded"]
