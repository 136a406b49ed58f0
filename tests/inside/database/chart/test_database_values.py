"""Where the pods get the address of the database from, and how many connections they may need."""

from typing import Any

import pytest

from tests.chart.helm import Helm, HelmError, Objects

PREFIX = "APP_DATABASE__"


def variables(objects: Objects) -> dict[str, Any]:
    """The variables of the database, with their values or sources."""
    every = objects.container["env"]
    return {one["name"]: one for one in every if one["name"].startswith(PREFIX)}


def test_nothing_is_set_by_default(helm: Helm) -> None:
    assert variables(helm.render()) == {}


def test_the_address_comes_from_a_secret(helm: Helm) -> None:
    found = variables(helm.render({"database": {"secret": "shop-db-app"}}))
    source = {"secretKeyRef": {"name": "shop-db-app", "key": "uri"}}
    assert found == {f"{PREFIX}URL": {"name": f"{PREFIX}URL", "valueFrom": source}}


def test_a_password_is_a_file_that_can_change(helm: Helm) -> None:
    objects = helm.render({"database": {"passwordSecret": "shop", "passwordKey": "pass"}})
    path = objects.environment[f"{PREFIX}PASSWORD_FILE"]
    mounts = objects.container["volumeMounts"]
    (mount,) = [one for one in mounts if path.startswith(one["mountPath"])]
    assert path == f"{mount['mountPath']}/pass"
    assert "subPath" not in mount, "such a file never changes"
    (volume,) = [one for one in objects.pod["volumes"] if one["name"] == mount["name"]]
    assert volume["secret"] == {"secretName": "shop"}


def test_what_is_given_is_passed_on(helm: Helm) -> None:
    values = {"poolSize": 3, "pooler": "pgbouncer", "gating": False}
    environment = helm.render({"database": values}).environment
    assert environment[f"{PREFIX}POOL_SIZE"] == "3"
    assert environment[f"{PREFIX}POOLER"] == "pgbouncer"
    assert environment[f"{PREFIX}GATING"] == "false"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"database": {"maxConnections": 29}},
            "database.maxConnections=29 is below the 30 connections of 2 pods and 1 more during a "
            "rolling update, each with database.poolSize=10",
        ),
        (
            {
                "database": {"maxConnections": 124, "poolSize": 5},
                "autoscaling": {"kind": "hpa", "maxReplicas": 20},
            },
            "database.maxConnections=124 is below the 125 connections of 20 pods and 5 more",
        ),
        (
            {"database": {"maxConnections": 49}, "rollout": {"maxSurge": 3}},
            "below the 50 connections of 2 pods and 3 more",
        ),
        ({"database": {"pooler": "odyssey"}}, "pooler"),
        ({"database": {"poolSize": 0}}, "poolSize"),
        ({"database": {"url": "postgresql://db/shop"}}, "url"),
        (
            {"env": [{"name": f"{PREFIX}POOL_SIZE", "value": "3"}]},
            "env: APP_DATABASE__POOL_SIZE is set by a value under database",
        ),
        (
            {
                "database": {"secret": "shop"},
                "env": [{"name": f"{PREFIX}URL", "value": "postgresql://db/shop"}],
            },
            "env: APP_DATABASE__URL and database.secret both set the address",
        ),
    ],
)
def test_what_cannot_work_is_refused(helm: Helm, values: Any, sentence: str) -> None:
    with pytest.raises(HelmError) as refused:
        helm.render(values)
    assert sentence in str(refused.value)


def test_as_many_connections_as_the_server_has_are_taken(helm: Helm) -> None:
    helm.render({"database": {"maxConnections": 30}})
