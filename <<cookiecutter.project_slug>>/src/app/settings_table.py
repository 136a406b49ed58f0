"""``python -m app settings``: all settings as text."""

import textwrap
from typing import Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from app.environment import variables


def render() -> str:
    """All variables with default, range, unit and description."""
    return "\n".join(_entry(name, info) for name, info in variables())


def _entry(name: str, info: FieldInfo) -> str:
    default = info.get_default(call_default_factory=True)
    shown = str(default).lower() if isinstance(default, bool) else str(default)
    facts = [f"default {shown}", *rule(info)]
    if name.endswith("_SECONDS"):
        facts.append("seconds")
    meaning = textwrap.fill(
        info.description or "", 92, initial_indent="    ", subsequent_indent="    "
    )
    return f"{name}  ({', '.join(facts)})\n{meaning}"


def rule(info: FieldInfo) -> list[str]:
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
