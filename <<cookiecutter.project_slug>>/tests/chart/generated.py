"""What follows from elsewhere: parts of the chart's schema and the table of its README.

``python -m tests.chart.generated`` writes both anew; the tests compare.

- ``config`` in the schema has a property for every setting that the chart does not set itself,
  as value or as text: `--set-string` and GitOps tools write text, and so does `--set` of fractions.
- ``files/limits.yaml`` has the limits of those that are numbers, for JSON Schema does not look for
  a number in a text.
- Every value of the schema may be null: that is what an empty key in a values file is.
- ``files/defaults.yaml`` says what a value is that is missing or null, from ``values.yaml``.
- ``definitions`` are Kubernetes' own, for the values that are passed through to it, and those of
  HTTPRoute and KEDA. Closed like all the rest, so that a typo is refused there too.
- The table has a row for every value, with its default and the schema's description.
"""

import functools
import json
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

from app.environment import variables
from app.settings import Settings

CHART = Path(__file__).resolve().parents[2] / "chart"
SCHEMAS = Path(__file__).resolve().parent / "schemas"
WIDTH = 110

#: Null leaves these out: of all that have a default, they alone stay null.
LEFT_OUT_BY_NULL = ("autoscaling.cpuPercent", "runAsUser", "spread.zones", "spread.nodes")

#: What pydantic takes for a yes or a no, in any case, and the empty text, which sets nothing.
TRUTHS = ("true", "t", "yes", "y", "on", "1", "false", "f", "no", "n", "off", "0", "")
NUMBER = r"^([-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?)?$"
INTEGER = r"^([-+]?[0-9]+)?$"
LIMITS = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
#: Larger ones are not exact any more when a values file has been read.
EXACT = 2**53 - 1

#: What Helm hands to a chart that is part of another one.
OF_A_PARENT = ("global", "enabled", "tags")

Json = Any


def schema() -> Json:
    """The chart's schema as it should be."""
    written = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    written["properties"]["config"]["properties"] = {
        name: as_value_or_text(rule) for name, rule in config_rules()
    }
    for rule in written["properties"].values():
        allow_null(rule)
    written["definitions"] = {}
    written["definitions"] = definitions(written)
    return written


def as_value_or_text(rule: Json) -> Json:
    """What a values file may say of a setting with this rule, which reads it as a variable.

    Rules for text do not hold for numbers and the other way round, so one object can have both.
    """
    if "anyOf" in rule:
        return {**rule, "anyOf": [as_value_or_text(inner) for inner in rule["anyOf"]]}
    kind = rule.get("type")
    if kind == "boolean":
        either = "|".join(
            "".join(f"[{c}{c.upper()}]" if c.isalpha() else c for c in word) for word in TRUTHS
        )
        return {
            **rule,
            "type": ["boolean", "integer", "string"],
            "minimum": 0,
            "maximum": 1,
            "pattern": f"^({either})$",
        }
    if kind in ("number", "integer"):
        return {
            **rule,
            "type": [kind, "string"],
            "pattern": NUMBER if kind == "number" else INTEGER,
        }
    if kind in ("array", "object"):
        return {**rule, "type": [kind, "string"]}
    if "enum" in rule:
        return {**rule, "enum": [*rule["enum"], ""]}
    if kind == "string":
        rule = {key: value for key, value in rule.items() if key != "minLength"}
        if "pattern" in rule:
            rule["pattern"] = f"^$|{rule['pattern']}"
        return {**rule, "type": ["string", "integer"], "minimum": -EXACT, "maximum": EXACT}
    return rule


def limits_text() -> str:
    """Limits of the settings that are numbers, a line for each."""
    lines = ["# Written by `make generate` from the settings: limits of the numbers of `config:`."]
    for name, rule in config_rules():
        for one in (rule, *rule.get("anyOf", ())):
            limits = {key: one[key] for key in LIMITS if key in one}
            if limits and one["type"] in ("number", "integer"):
                lines.append(f"{name}: {json.dumps(limits)}")
    return "\n".join(lines) + "\n"


def allow_null(rule: Json) -> None:
    """Let the value be null, and those in it that have a name; not the items of a list."""
    if "enum" in rule and None not in rule["enum"]:
        rule["enum"] = [*rule["enum"], None]
    if "anyOf" in rule and {"type": "null"} not in rule["anyOf"]:
        rule["anyOf"] = [*rule["anyOf"], {"type": "null"}]
    if "type" in rule:
        types = [rule["type"]] if isinstance(rule["type"], str) else rule["type"]
        rule["type"] = types if "null" in types else [*types, "null"]
    more = rule.get("additionalProperties")
    for inner in [*rule.get("properties", {}).values(), *([more] if more else [])]:
        allow_null(inner)


def config_rules() -> list[tuple[str, Json]]:
    """Settings that `config:` takes, with their rules."""
    whole = Settings.model_json_schema()
    own = set(
        re.findall(r"name: (APP_\w+)", (CHART / "templates/deployment.yaml").read_text("utf-8"))
    )
    rules = []
    for name, _ in variables():
        rule = whole
        for part in name.removeprefix("APP_").lower().split("__"):
            rule = rule["properties"][part]
            if "$ref" in rule:
                rule = whole["$defs"][rule["$ref"].rpartition("/")[2]]
        if name not in own:
            rules.append(
                (name, {key: rule[key] for key in rule if key not in ("title", "default")})
            )
    return rules


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


def as_text(part: Json, indent: int = 0) -> str:
    """JSON with a line for whatever fits into one."""
    line = json.dumps(part, ensure_ascii=False)
    if not isinstance(part, dict) or len(line) + indent <= WIDTH or not part:
        return line
    pad = " " * (indent + 2)
    rows = [f"{pad}{json.dumps(key)}: {as_text(value, indent + 2)}" for key, value in part.items()]
    return "{\n" + ",\n".join(rows) + "\n" + " " * indent + "}"


def schema_text() -> str:
    """The file: definitions have a line each, however long."""
    whole = schema()
    named = whole.pop("definitions")
    rows = [f"    {json.dumps(name)}: {json.dumps(rule)}" for name, rule in named.items()]
    return as_text(whole)[:-2] + ',\n  "definitions": {\n' + ",\n".join(rows) + "\n  }\n}\n"


def rows(rule: Json, values: Json, prefix: str = "") -> list[tuple[str, Json, str]]:
    """Path, default and description of every value that is set as one."""
    found = []
    for name, inner in rule["properties"].items():
        path, default = f"{prefix}{name}", (values or {}).get(name)
        if "properties" in inner and name != "config":
            found += rows(inner, default, f"{path}.")
        else:
            found.append((path, default, inner.get("description", "")))
    return found


def values() -> Json:
    return yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))


def defaults_text() -> str:
    """What a value is that is missing: a line for each, by its path."""
    found: dict[str, Json] = {}
    for path, default, _ in rows(schema(), values()):
        group = path.rpartition(".")[0]
        if default is not None and path not in LEFT_OUT_BY_NULL:
            found[path] = default
        elif group:
            found.setdefault(group, {})
    used = {path.rpartition(".")[0] for path in found}
    lines = [
        "# Written by `make generate` from ../values.yaml: a value that is missing or null;",
        "# those that null leaves out have no line.",
        *(
            f"{path}: {json.dumps(default, ensure_ascii=False)}"
            for path, default in found.items()
            if path not in used
        ),
    ]
    return "\n".join(lines) + "\n"


def table() -> str:
    """The table of values for the README."""
    lines = ["| Value | Default | What it is |", "| --- | --- | --- |"]
    for path, default, description in rows(schema(), values()):
        shown = f"`{json.dumps(default)}`"
        if not isinstance(default, str) and len(shown) > 60:
            shown = "see values.yaml"
        lines.append(f"| `{path}` | {shown} | {description} |")
    return "\n".join(lines)


def readme_text() -> str:
    """The README with the table between its marks."""
    text = (CHART / "README.md").read_text("utf-8")
    between = re.compile(r"(?<=<!-- values -->\n).*(?=\n<!-- end of values -->)", re.DOTALL)
    return between.sub(lambda _: table(), text)


def files() -> dict[Path, str]:
    """Every generated file as it should be."""
    return {
        CHART / "values.schema.json": schema_text(),
        CHART / "files/defaults.yaml": defaults_text(),
        CHART / "files/limits.yaml": limits_text(),
        CHART / "README.md": readme_text(),
    }


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, "utf-8")
