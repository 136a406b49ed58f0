"""Writes what follows from the settings and from ``values.yaml``: ``make generate``.

- ``requests`` and ``websockets`` in the chart's schema have one for each setting of that group.
- ``config`` in the chart's schema has a property for every setting that the chart does not set
  itself, as a value or as text: `--set-string`, fractions of `--set` and GitOps tools write text.
- ``chart/files/limits.yaml`` has the limits of the numbers among them: JSON Schema does not look
  for a number in a text.
- Every value may be null in the schema: an empty key of a values file is null.
- ``chart/files/defaults.yaml`` has the defaults of values that are missing or null.
"""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from app.environment import variables
from app.settings import Settings

PROJECT = Path(__file__).resolve().parents[1]
CHART = PROJECT / "chart"

#: Null leaves these out: of all that have a default, they alone stay null.
LEFT_OUT_BY_NULL = ("autoscaling.cpuPercent", "runAsUser", "spread.zones", "spread.nodes")

#: Values of the chart whose names and rules are those of a group of settings.
GROUPS = ("requests", "websockets")

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
    for group in GROUPS:
        rules = {camel(name): rule for name, rule in rules_of(group)}
        written["properties"][group]["properties"] |= rules
    for rule in written["properties"].values():
        allow_null(rule)
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


def camel(name: str) -> str:
    """The chart's name of a setting: ``max_open`` is ``maxOpen``."""
    first, *others = name.split("_")
    return first + "".join(other.capitalize() for other in others)


def rules_of(group: str) -> list[tuple[str, Json]]:
    """The settings of ``group``, with the rules of what they are set to."""
    found = []
    for name, field in type(getattr(Settings(), group)).model_json_schema()["properties"].items():
        value = next((one for one in field.get("anyOf", ()) if one["type"] != "null"), field)
        rule = {"description": field["description"], **value}
        found.append((name, {key: rule[key] for key in rule if key not in ("title", "default")}))
    return found


def config_rules() -> list[tuple[str, Json]]:
    """Settings that `config:` takes, with their rules."""
    whole = Settings.model_json_schema()
    own = set(
        re.findall(r"name: (APP_\w+)", (CHART / "templates/deployment.yaml").read_text("utf-8"))
    )
    groups = tuple(f"APP_{group.upper()}__" for group in GROUPS)
    rules = []
    for name, _ in variables():
        rule = whole
        for part in name.removeprefix("APP_").lower().split("__"):
            rule = rule["properties"][part]
            if "$ref" in rule:
                rule = whole["$defs"][rule["$ref"].rpartition("/")[2]]
        if name not in own and not name.startswith(groups):
            rules.append(
                (name, {key: rule[key] for key in rule if key not in ("title", "default")})
            )
    return rules


def as_text(part: Json, indent: str = "") -> str:
    """JSON with a line for each value of the chart, below the line of its group."""
    if "properties" not in part:
        return json.dumps(part, ensure_ascii=False)
    head = [f"{json.dumps(key)}: {json.dumps(part[key])}" for key in part if key != "properties"]
    inner = f"{indent}  "
    values = [f'{inner}"{name}": {as_text(v, inner)}' for name, v in part["properties"].items()]
    return "{" + ", ".join([*head, '"properties": {\n']) + ",\n".join(values) + f"\n{indent}}}}}"


def schema_text() -> str:
    """The file; nobody edits the definitions, which are one line."""
    whole = schema()
    definitions = json.dumps(whole.pop("definitions"))
    return as_text(whole).removesuffix("}") + f',\n"definitions": {definitions}}}\n'


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


def files() -> dict[Path, str]:
    """Every generated file as it should be."""
    return {
        CHART / "values.schema.json": schema_text(),
        CHART / "files/defaults.yaml": defaults_text(),
        CHART / "files/limits.yaml": limits_text(),
    }


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, "utf-8")
