"""A container's environment, put together as the kubelet does.

ConfigMaps of ``envFrom`` first, in their order, then ``env``, whose values may
refer to what was defined before them by ``$(NAME)``.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from drill.errors import DrillError

Manifest = Mapping[str, Any]


def environment(
    container: Manifest, objects: Sequence[Manifest], fields: Mapping[str, str]
) -> dict[str, str]:
    """``objects`` are the release's; ``fields`` is the Downward API by field path.

    Raises DrillError for what only a cluster has.
    """
    together: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        prefix = source.get("prefix", "")
        data = _config(source, objects)
        together |= {prefix + name: value for name, value in data.items()}
    for variable in container.get("env", ()):
        name = variable["name"]
        if "valueFrom" in variable:
            value = _from(variable["valueFrom"], objects, fields, name)
        else:
            value = expand(str(variable.get("value", "")), together)
        if value is not None:
            together[name] = value
    return together


def expand(text: str, variables: Mapping[str, str]) -> str:
    """``$(NAME)`` by its value, unknown names as they are, ``$$`` for ``$``."""

    def value(match: re.Match[str]) -> str:
        return "$" if match[0] == "$$" else variables.get(match[1], match[0])

    return re.sub(r"\$\$|\$\(([A-Za-z_][\w.-]*)\)", value, text)


def _from(
    source: Manifest, objects: Sequence[Manifest], fields: Mapping[str, str], name: str
) -> str | None:
    if "fieldRef" in source:
        path = source["fieldRef"]["fieldPath"]
        if path in fields:
            return fields[path]
        if path.startswith(("metadata.labels[", "metadata.annotations[")):
            return ""  # a label that is not there
        raise DrillError(f"{name} comes from {path}, which the drill does not have.")
    for kind in ("configMapKeyRef", "secretKeyRef"):
        if kind in source:
            return _key(source[kind], kind, objects, name)
    raise DrillError(
        f"{name} comes from {', '.join(source)}, which the drill does not have: "
        f"give it a value, as in --env {name}=VALUE."
    )


def _key(reference: Manifest, kind: str, objects: Sequence[Manifest], name: str) -> str | None:
    wanted = "ConfigMap" if kind == "configMapKeyRef" else "Secret"
    for found in objects:
        if found["kind"] == wanted and found["metadata"]["name"] == reference["name"]:
            data = {**found.get("data", {}), **found.get("stringData", {})}
            if reference["key"] in data:
                return str(data[reference["key"]])
    if reference.get("optional"):
        return None
    raise DrillError(
        f"{name} comes from the {wanted} {reference['name']!r}, which is not part of the chart: "
        f"give it a value, as in --env {name}=VALUE."
    )


def _config(source: Manifest, objects: Sequence[Manifest]) -> dict[str, str]:
    for kind, key in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
        if key not in source:
            continue
        for found in objects:
            if found["kind"] == kind and found["metadata"]["name"] == source[key]["name"]:
                return {**found.get("data", {}), **found.get("stringData", {})}
        if kind == "ConfigMap" and not source[key].get("optional"):
            raise DrillError(f"ConfigMap {source[key]['name']!r} is not part of the chart.")
    return {}  # a Secret is the cluster's: what it sets comes by --env
