"""Reads the settings from the environment and reports wrong ones; lists them all."""

import difflib
import os
import textwrap
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from app.lifecycle.settings import Group
#% if cookiecutter.tracing == "opentelemetry"
from app.observability import otel
#% endif
from app.settings import PREFIX, Settings


class SettingsError(Exception):
    """Invalid settings; the message has a line for each, with its value and rule."""


def load() -> Settings:
    """Read the settings from the environment. Raises SettingsError."""
    wrong = _unknown()
    try:
        settings = Settings()
    except ValidationError as error:
        # Unknown names are already in ``wrong``, with a suggestion.
        details = [dict(d) for d in error.errors() if d["type"] != "extra_forbidden"]
        wrong.extend(_sentence(detail) for detail in details)
#% if cookiecutter.tracing == "opentelemetry"
    wrong += otel.wrong_variables()
#% endif
    if wrong:
        raise SettingsError("\n".join(wrong))
    return settings


def variables() -> Iterator[tuple[str, FieldInfo]]:
    """All variables with their fields, in the order of declaration."""
    for name, info in Settings.model_fields.items():
        group = info.annotation
        if isinstance(group, type) and issubclass(group, Group):
            for inner, inner_info in group.model_fields.items():
                yield f"{PREFIX}{name}__{inner}".upper(), inner_info
        else:
            yield f"{PREFIX}{name}".upper(), info


def _unknown() -> list[str]:
    known = [name for name, _ in variables()]
    found = [name for name in os.environ if name.startswith(PREFIX) and name.upper() not in known]
    return [f"{name} is not a setting{_nearest(name, known)}" for name in sorted(found)]


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]}?" if close else "`python -m app settings` lists them"
    return f": {hint}"


def _sentence(detail: dict[str, Any]) -> str:
    name = PREFIX + "__".join(str(part) for part in detail["loc"]).upper()
    if detail["type"] == "value_error":
        prefix = f"{name}__" if detail["loc"] else PREFIX
        return f"{prefix}{detail['ctx']['error']}"
    return f"{name}={detail['input']!r}: {detail['msg']}"


def render() -> str:
    """List all variables with default, range, unit and description."""
    return "\n".join(_entry(name, info) for name, info in variables())


def _entry(name: str, info: FieldInfo) -> str:
    default = info.get_default(call_default_factory=True)
    shown = str(default).lower() if isinstance(default, bool) else str(default)
    shown = "unset" if default is None else shown
    facts = [f"default {shown}", *_rule(info)]
    if name.endswith("_SECONDS"):
        facts.append("seconds")
    meaning = textwrap.fill(
        info.description or "", 92, initial_indent="    ", subsequent_indent="    "
    )
    return f"{name}  ({', '.join(facts)})\n{meaning}"


def _rule(info: FieldInfo) -> list[str]:
    """The rule for its value; empty if the type says it all."""
    if get_origin(info.annotation) is Literal:
        return ["one of " + ", ".join(get_args(info.annotation))]
    low = high = ""
    for rule in info.metadata:
        if (least := getattr(rule, "ge", None)) is not None:
            low = f"from {least}"
        elif (above := getattr(rule, "gt", None)) is not None:
            low = f"above {above}"
        if (most := getattr(rule, "le", None)) is not None:
            high = f"to {most}"
    return [f"{low} {high}"] if low else []
