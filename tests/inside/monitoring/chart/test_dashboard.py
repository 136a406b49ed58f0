"""The dashboard is one that Grafana loads, and shows what is in the rules and on /metrics."""

import itertools
import re
from typing import Any

import promql_parser
import pytest

from tests.chart.helm import PROJECT, found
from tests.chart.queries import ON, dashboard, metrics, queries, rendered, rules

#: Of kube-state-metrics; the operator's users have it.
KUBERNETES = {
    "kube_deployment_spec_replicas",
    "kube_deployment_status_condition",
    "kube_deployment_status_replicas_available",
    "kube_horizontalpodautoscaler_spec_max_replicas",
    "kube_horizontalpodautoscaler_spec_min_replicas",
    "kube_horizontalpodautoscaler_status_desired_replicas",
    "kube_pod_container_resource_limits",
    "kube_pod_container_resource_requests",
    "kube_pod_container_status_last_terminated_exitcode",
    "kube_pod_container_status_restarts_total",
    "kube_pod_container_status_waiting_reason",
}
OF_PROMETHEUS = {"up", "ALERTS"}


def panels() -> list[Any]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def test_panels_have_a_place_of_their_own() -> None:
    every = dashboard()["panels"]
    assert len({panel["id"] for panel in every}) == len(every)
    assert len({panel["title"] for panel in every}) == len(every)
    taken: set[tuple[int, int]] = set()
    for panel in every:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        columns = range(place["x"], place["x"] + place["w"])
        cells = set(itertools.product(columns, range(place["y"], place["y"] + place["h"])))
        assert not cells & taken, panel["title"]
        taken |= cells


def test_rows_begin_where_the_panels_before_them_end() -> None:
    every = dashboard()["panels"]
    assert every == sorted(every, key=lambda panel: (panel["gridPos"]["y"], panel["gridPos"]["x"]))
    for before, row in itertools.pairwise(every):
        if row["type"] == "row":
            assert row["gridPos"]["y"] == before["gridPos"]["y"] + before["gridPos"]["h"]


def test_every_panel_asks_the_chosen_source() -> None:
    source = {"type": "prometheus", "uid": "${datasource}"}
    whole = dashboard()
    asking = [*panels(), *whole["annotations"]["list"]]
    asking += [one for one in whole["templating"]["list"] if one["type"] == "query"]
    assert all(one["datasource"] == source for one in asking)
    for panel in panels():
        letters = [target["refId"] for target in panel["targets"]]
        assert letters == sorted(set(letters))
        assert all(target["expr"] and target["legendFormat"] for target in panel["targets"])
        assert panel["fieldConfig"]["defaults"]["unit"]


def test_variables_are_those_that_are_defined() -> None:
    whole = dashboard()
    defined = {f"${one['name']}" for one in whole["templating"]["list"]}
    text = str(whole).replace("${datasource}", "$datasource")
    used = set(re.findall(r"\$[a-z]\w*", text))
    assert used == defined


def test_an_empty_folder_leaves_the_choice_to_grafana() -> None:
    assert "annotations" not in rendered().one("ConfigMap")["metadata"]
    folder = {"monitoring": {"enabled": True, "dashboard": {"folder": "Services"}}}
    chosen = found()[0].render({**ON, **folder}).one("ConfigMap")
    assert chosen["metadata"]["annotations"] == {"grafana_folder": "Services"}


@pytest.mark.parametrize("place", queries())
def test_a_query_parses(place: str) -> None:
    promql_parser.parse(queries()[place])


def test_queries_know_their_metrics() -> None:
    recorded = {rule["record"] for group in rules() for rule in group["rules"] if "record" in rule}
    named = set().union(*map(metrics, queries().values()))
    foreign = {n for n in named if not re.match(r"(app|db|http|process|python)_", n)}
    assert foreign == KUBERNETES | OF_PROMETHEUS | recorded


def test_every_alert_has_a_section_in_the_runbook() -> None:
    text = (PROJECT / "docs/runbook.md").read_text("utf-8")
    text = text.partition("## Alerts\n")[2]
    sections = dict(re.findall(r"^### (\w+)\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL))
    alerts = [rule for group in rules() for rule in group["rules"] if "alert" in rule]
    anchors = {name.lower() for name in sections}
    for rule in alerts:
        page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert (page, anchor in anchors) == ("docs/runbook.md", True), rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert {"summary", "description"} < set(rule["annotations"])
    assert anchors == {rule["annotations"]["runbook_url"].partition("#")[2] for rule in alerts}
    for name, section in sections.items():
        words = re.findall(r"^- \*\*(.*?)\*\*: ", section, re.MULTILINE)
        assert words == ["Symptom", "Confirm", "Act", "Do not"], name


def test_the_runbook_names_panels_and_alerts_that_exist() -> None:
    text = (PROJECT / "docs/runbook.md").read_text("utf-8")
    titles = {panel["title"] for panel in dashboard()["panels"]}
    assert set(re.findall(r"\*([A-Z][^*\n]+)\*(?!\*)", re.sub(r"\*\*.*?\*\*", "", text))) <= titles
    alerts = {rule.get("alert") for group in rules() for rule in group["rules"]}
    named = set(re.findall(r"`([A-Z][a-z]+[A-Z]\w+)`", text))
    assert named <= alerts


def test_helm_fills_in_every_mark_and_leaves_the_templates_of_prometheus() -> None:
    text = str(rules())
    assert "{{ $labels.pod }}" in text
    assert "@" not in text
