"""Who may talk to whom, and that the notes say it."""

from typing import Any

import pytest

from tests.chart.cases import CASES, PEER
from tests.chart.helm import Helm

CLOSED: Any = {"networkPolicy": {"egress": []}}
POSTGRES = {"to": [{"podSelector": {}}], "ports": [{"port": 5432}]}


def test_the_management_port_is_for_nobody_unless_told(helm: Helm) -> None:
    objects = helm.render()
    assert [port["targetPort"] for port in objects.one("Service")["spec"]["ports"]] == ["http"]
    (rule,) = objects.one("NetworkPolicy")["spec"]["ingress"]
    assert [port["port"] for port in rule["ports"]] == ["http"]


def test_the_tests_may_ask_where_others_may_not(helm: Helm) -> None:
    objects = helm.render({"networkPolicy": {"from": [{"podSelector": {}}]}})
    peers = objects.one("NetworkPolicy")["spec"]["ingress"][0]["from"]
    (test,) = [o for o in objects if o["kind"] == "Pod"]
    assert test["metadata"]["labels"].items() >= peers[-1]["podSelector"]["matchLabels"].items()


def test_by_default_the_service_may_call_whom_it_likes(helm: Helm) -> None:
    spec = helm.render().one("NetworkPolicy")["spec"]
    assert spec["policyTypes"] == ["Ingress"], "with Egress nothing but its rules would be open"
    assert "egress" not in spec


def test_closed_a_pod_may_ask_for_names_the_api_and_its_like(helm: Helm) -> None:
    objects = helm.render(CLOSED)
    assert objects.one("NetworkPolicy")["spec"]["policyTypes"] == ["Ingress", "Egress"]
    names, api, pods = objects.one("NetworkPolicy")["spec"]["egress"]
    assert {port["port"] for port in names["ports"]} == {53}
    assert {port["port"] for port in api["ports"]} == {443, 6443}
    assert all("/" in peer["ipBlock"]["cidr"] for peer in api["to"])
    assert "0.0.0.0/0" not in str(api), "not all the world"
    assert {port["port"] for port in pods["ports"]} == {8080}
    (peer,) = pods["to"]
    selector = objects.one("Service")["spec"]["selector"]
    assert peer["podSelector"]["matchLabels"] == selector


def test_what_is_listed_is_open_beside_them(helm: Helm) -> None:
    egress = helm.render({"networkPolicy": {"egress": [POSTGRES]}}).one("NetworkPolicy")["spec"]
    closed = helm.render(CLOSED).one("NetworkPolicy")["spec"]
    assert egress["egress"] == [*closed["egress"], POSTGRES]


def test_pods_may_ask_each_other_where_others_may_not(helm: Helm) -> None:
    values: Any = {"networkPolicy": {"from": [{"namespaceSelector": {}}]}}
    for more, asks in (({}, True), ({"behind": "aws-alb"}, False)):
        objects = helm.render({**values, **more})
        selector = objects.one("Service")["spec"]["selector"]
        peers = objects.one("NetworkPolicy")["spec"]["ingress"][0]["from"]
        assert ({"podSelector": {"matchLabels": selector}} in peers) is asks


def test_an_api_that_is_nowhere_is_out_of_reach(helm: Helm) -> None:
    egress = helm.render({"networkPolicy": {"api": [], "egress": []}}).one("NetworkPolicy")["spec"][
        "egress"
    ]
    assert {port["port"] for rule in egress for port in rule["ports"]} == {53, 8080}


@pytest.mark.parametrize(
    ("policy", "sentences"),
    [
        ({}, ["8080: everybody", "8081: only the kubelet", "out  everything"]),
        (
            {"from": [PEER], "managementFrom": [PEER, PEER], "egress": [POSTGRES]},
            [
                "8080: networkPolicy.from (1), and `helm test`",
                "8081: the kubelet and networkPolicy.managementFrom (2)",
                "out  DNS, the API server, the other pods, and networkPolicy.egress (1)",
            ],
        ),
        ({"enabled": False}, ["No NetworkPolicy: the management port 8081 is open"]),
    ],
)
def test_the_notes_say_who_is_let_in_and_out(helm: Helm, policy: Any, sentences: list[str]) -> None:
    notes = helm.notes({"networkPolicy": policy})
    assert [sentence for sentence in sentences if sentence not in notes] == []


@pytest.mark.parametrize("case", ["defaults", "all-typed", "single-node"])
def test_the_notes_say_whose_headers_are_believed(helm: Helm, case: str) -> None:
    (line,) = [line for line in helm.notes(CASES[case]).splitlines() if "proxy headers" in line]
    environment = helm.render(CASES[case]).environment
    trusted = environment["APP_PROXY__TRUSTED"].replace(",", ", ")
    headers = ", ".join(f"-{name.title()}" for name in environment["APP_PROXY__HEADERS"].split(","))
    assert (f"X-Forwarded{headers} from {trusted};" if trusted else "none;") in line
