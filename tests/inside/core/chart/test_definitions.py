"""The schema's definitions: Kubernetes' own, for the values that are passed through to it.

Those of HTTPRoute and KEDA come from ``schemas/``. All are closed, so that a typo is refused.
``python -m tests.chart.test_definitions`` writes them into the chart's schema.
"""

import functools
import json
import re
from pathlib import Path

import kubernetes_validate

from dev.generate import CHART, Json, schema, schema_text

SCHEMAS = Path(__file__).resolve().parent / "schemas"


def definitions(written: Json) -> Json:
    """What ``written`` refers to, and what that refers to, without descriptions."""
    found: dict[str, Json] = {}
    wanted = references(written)
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = bare(source(name))
            wanted |= references(found[name])
    return dict(sorted(found.items()))


def source(name: str) -> Json:
    if name == "HTTPRoute.rule":
        rule = json.loads((SCHEMAS / "httproute.json").read_text("utf-8"))
        rule = rule["properties"]["spec"]["properties"]["rules"]["items"]
        return {
            **rule,
            "properties": {k: v for k, v in rule["properties"].items() if k != "backendRefs"},
        }
    if name == "ScaledObject.trigger":
        rule = json.loads((SCHEMAS / "scaledobject.json").read_text("utf-8"))
        return rule["properties"]["spec"]["properties"]["triggers"]["items"]
    return kubernetes_definitions()[name]


@functools.cache
def kubernetes_definitions() -> dict[str, Json]:
    folder = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
    newest = f"v{kubernetes_validate.latest_version()}-local-strict"
    text = (folder / newest / "_definitions.json").read_text("utf-8")
    text = re.sub(
        r'"[^"]*#/\$defs/([\w.]+)"', lambda found: f'"#/definitions/{short(found[1])}"', text
    )
    return {short(name): rule for name, rule in json.loads(text)["$defs"].items()}


def short(name: str) -> str:
    """io.k8s.api.core.v1.Volume → core.v1.Volume"""
    return re.sub(r"^io\.k8s\.(?:api\.|apimachinery\.pkg\.)", "", name)


def references(part: Json) -> set[str]:
    return set(re.findall(r'"#/definitions/([\w.]+)"', json.dumps(part)))


def bare(part: Json) -> Json:
    """Without what only people read."""
    if isinstance(part, dict):
        return {
            key: bare(value)
            for key, value in part.items()
            if not (key in ("description", "format") and isinstance(value, str))
            and not key.startswith("x-")
        }
    return [bare(item) for item in part] if isinstance(part, list) else part


def test_the_definitions_are_up_to_date() -> None:
    written = schema()
    found = written.pop("definitions")
    assert definitions(written) == found, "run `python -m tests.chart.test_definitions`"


if __name__ == "__main__":
    written = schema()
    del written["definitions"]
    written["definitions"] = definitions(written)
    path = CHART / "values.schema.json"
    path.write_text(json.dumps(written), "utf-8")
    path.write_text(schema_text(), "utf-8")
