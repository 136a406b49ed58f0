"""What a service registry takes in the chart: variables, and time to leave."""

from typing import Any

import pytest

from app.registry.settings import Registry
from tests.chart.helm import Helm, HelmError
from tests.chart.test_times import times

URL = {"registry": {"url": "http://registry.infra:8500"}}


def test_defaults_are_those_of_the_service(
    helm: Helm, bare_environment: pytest.MonkeyPatch
) -> None:
    environment = helm.render().environment
    found = {
        name.removeprefix("APP_REGISTRY__").lower(): value
        for name, value in environment.items()
        if name.startswith("APP_REGISTRY__")
    }
    assert found.pop("service") == "web-example-service"
    defaults = Registry().model_dump()
    assert {name: str(defaults[name]).removesuffix(".0") for name in found} == found


def test_every_value_reaches_the_service(helm: Helm) -> None:
    values = {
        "url": "https://registry.infra:8501",
        "strategy": "event",
        "service": "orders",
        "tags": ["v1", "public"],
        "intervalSeconds": 2.5,
        "ttlSeconds": 20,
        "failures": 4,
        "successes": 5,
        "deregisterSeconds": 1.5,
        "readersSeconds": 6,
    }
    environment = helm.render({"registry": values}).environment
    given = {
        "url": environment["APP_REGISTRY__URL"],
        "strategy": environment["APP_REGISTRY__STRATEGY"],
        "service": environment["APP_REGISTRY__SERVICE"],
        "tags": environment["APP_REGISTRY__TAGS"].split(","),
        "intervalSeconds": float(environment["APP_REGISTRY__INTERVAL_SECONDS"]),
        "ttlSeconds": int(environment["APP_REGISTRY__TTL_SECONDS"]),
        "failures": int(environment["APP_REGISTRY__FAILURES"]),
        "successes": int(environment["APP_REGISTRY__SUCCESSES"]),
        "deregisterSeconds": float(environment["APP_REGISTRY__DEREGISTER_SECONDS"]),
        "readersSeconds": float(environment["APP_REGISTRY__READERS_SECONDS"]),
    }
    assert given == values


def test_credentials_come_from_files_of_a_secret(helm: Helm) -> None:
    (deployment,) = helm.render({"registry": {"secret": "shop"}}).all("Deployment")
    pod = deployment["spec"]["template"]["spec"]
    assert {"name": "registry", "secret": {"secretName": "shop"}} in pod["volumes"]
    mounts = {one["name"]: one["mountPath"] for one in pod["containers"][0]["volumeMounts"]}
    environment = {one["name"]: one for one in pod["containers"][0]["env"]}
    files = ("APP_REGISTRY__TOKEN_FILE", "APP_REGISTRY__PASSWORD_FILE")
    (file,) = (one for name, one in environment.items() if name in files)
    assert file["value"].rpartition("/")[0] == mounts["registry"]
    if user := environment.get("APP_REGISTRY__USERNAME"):
        assert user["valueFrom"]["secretKeyRef"] == {"name": "shop", "key": "username"}


def test_the_grace_period_contains_the_way_out_of_the_registry(helm: Helm) -> None:
    without, with_it = times(helm.render()), times(helm.render(URL))
    assert without.limit == 18, "pods that are not registered do not wait"
    assert with_it.limit == 3 + 15 + 13
    assert with_it.grace == without.grace + with_it.limit - without.limit
    longer = times(helm.render({"registry": {**URL["registry"], "readersSeconds": 30}}))
    assert longer.grace == with_it.grace + 15


def test_a_router_that_needs_longer_sets_the_limit(helm: Helm) -> None:
    assert times(helm.render({**URL, "behind": "aws-alb"})).limit > 31


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {**URL, "shutdown": {"limitSeconds": 17}},
            "shutdown.limitSeconds=17 is below the 18 s of registry.deregisterSeconds and",
        ),
        (
            {"registry": {"ttlSeconds": 12}},
            "registry.ttlSeconds=12 is not above 2.4 times intervalSeconds=5",
        ),
        ({"registry": {"url": "registry:8500"}}, "url"),
        ({"registry": {"tags": ["a,b"]}}, "tags"),
    ],
)
def test_values_that_cannot_work_are_refused(helm: Helm, values: Any, sentence: str) -> None:
    with pytest.raises(HelmError, match=sentence):
        helm.render(values)
