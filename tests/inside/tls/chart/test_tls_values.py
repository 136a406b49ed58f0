"""What the chart does for TLS in the service, and for the routers that connect to it."""

from typing import Any

import pytest

from tests.chart.helm import Helm, HelmError, Objects

ON: Any = {"tls": {"secretName": "web-tls"}, "service": {"port": 443}}
INGRESS: Any = {"ingress": {"enabled": True, "hosts": [{"host": "a.example.com"}]}}
ROUTE: Any = {"httpRoute": {"enabled": True, "parentRefs": [{"name": "gateway"}]}}


def volume(objects: Objects) -> Any:
    return next(one for one in objects.pod["volumes"] if one["name"] == "tls")


def test_without_a_secret_nothing_of_it_is_left(helm: Helm) -> None:
    objects = helm.render()
    assert not [name for name in objects.environment if name.startswith("APP_TLS__")]
    assert "tls" not in [one["name"] for one in objects.pod["volumes"]]
    assert objects.one("Service")["spec"]["ports"][0]["appProtocol"] == "http"


def test_the_service_gets_the_files_of_the_secret(helm: Helm) -> None:
    objects = helm.render({**ON, "tls": {**ON["tls"], "minimumVersion": "1.3"}})
    (mount,) = (one for one in objects.container["volumeMounts"] if one["name"] == "tls")
    assert objects.environment["APP_TLS__CERTIFICATE"] == f"{mount['mountPath']}/tls.crt"
    assert objects.environment["APP_TLS__KEY"] == f"{mount['mountPath']}/tls.key"
    assert objects.environment["APP_TLS__MINIMUM_VERSION"] == "1.3"
    assert mount["readOnly"]
    assert "subPath" not in mount, "the kubelet would never renew it"
    assert volume(objects)["secret"]["secretName"] == "web-tls"


def test_its_user_can_read_the_key_and_nobody_else(helm: Helm) -> None:
    objects = helm.render(ON)
    assert volume(objects)["secret"]["defaultMode"] == 0o440
    assert objects.pod["securityContext"]["fsGroup"] == 10001


def test_probes_and_hook_need_no_certificate(helm: Helm) -> None:
    container = helm.render(ON).container
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] == "management"
        assert "scheme" not in container[probe]["httpGet"]
    assert list(container["lifecycle"]["preStop"]) == ["exec"]


def test_the_service_and_its_test_say_https(helm: Helm) -> None:
    objects = helm.render(ON)
    (port,) = objects.one("Service")["spec"]["ports"]
    assert (port["port"], port["appProtocol"]) == (443, "https")
    text = helm.text(ON, "--show-only", "templates/tests/ask.yaml")
    assert "value: https://" in text


@pytest.mark.parametrize(
    ("behind", "name", "value"),
    [
        ("ingress-nginx", "nginx.ingress.kubernetes.io/backend-protocol", "HTTPS"),
        ("haproxy", "haproxy.org/server-ssl", "true"),
        ("aws-alb", "alb.ingress.kubernetes.io/backend-protocol", "HTTPS"),
        ("azure-agic", "appgw.ingress.kubernetes.io/backend-protocol", "https"),
    ],
)
def test_an_ingress_speaks_tls_to_the_pods(helm: Helm, behind: str, name: str, value: str) -> None:
    ingress = helm.render({**ON, **INGRESS, "behind": behind}).one("Ingress")
    assert ingress["metadata"]["annotations"] == {name: value}
    own: Any = {"ingress": {**INGRESS["ingress"], "annotations": {name: "other", "a": "b"}}}
    ingress = helm.render({**ON, **own, "behind": behind}).one("Ingress")
    assert ingress["metadata"]["annotations"] == {name: "other", "a": "b"}
    plain = helm.render({**INGRESS, "behind": behind}).one("Ingress")
    assert "annotations" not in plain["metadata"]


def test_a_gateway_speaks_tls_to_the_pods(helm: Helm) -> None:
    values: Any = {**ON, **ROUTE, "tls": {**ON["tls"], "hostname": "web.default.svc"}}
    objects = helm.render(values)
    policy = objects.one("BackendTLSPolicy")["spec"]
    assert policy["targetRefs"][0]["name"] == objects.one("Service")["metadata"]["name"]
    assert policy["validation"] == {
        "hostname": "web.default.svc",
        "wellKnownCACertificates": "System",
    }
    values["tls"]["caConfigMap"] = "internal-ca"
    validation = helm.render(values).one("BackendTLSPolicy")["spec"]["validation"]
    assert validation["caCertificateRefs"] == [
        {"group": "", "kind": "ConfigMap", "name": "internal-ca"}
    ]
    assert "wellKnownCACertificates" not in validation


def test_a_canary_without_a_route_of_its_own_is_spoken_to_with_tls(helm: Helm) -> None:
    objects = helm.render({**ON, "tls": {**ON["tls"], "hostname": "web.default.svc"}})
    (target,) = objects.one("BackendTLSPolicy")["spec"]["targetRefs"]
    assert target["name"] == objects.one("Service")["metadata"]["name"]


@pytest.mark.parametrize(
    ("sentence", "values"),
    [
        ("set service.port=443", {"tls": ON["tls"]}),
        ("needs tls.hostname, a name in the certificate", {**ON, **ROUTE}),
        (
            "tls.caConfigMap=ca needs tls.hostname",
            {**ON, "tls": {**ON["tls"], "caConfigMap": "ca"}},
        ),
        ("need tls.secretName", {"tls": {"hostname": "web.default.svc"}}),
        (
            "env: APP_TLS__KEY is set by the values under tls",
            {"env": [{"name": "APP_TLS__KEY", "value": "/key"}]},
        ),
    ],
)
def test_what_cannot_work_is_refused(helm: Helm, sentence: str, values: Any) -> None:
    with pytest.raises(HelmError) as refused:
        helm.render(values)
    assert sentence in str(refused.value)
