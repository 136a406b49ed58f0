"""Settings as they may be shown: without passwords, keys and tokens."""

import math
import re
from collections.abc import Collection, Iterator, Mapping

from pydantic import BaseModel, SecretBytes, SecretStr

#: Instead of a secret.
MASK = "***"

#: Names whose values are not shown.
_secret = re.compile(r"pass|pwd|secret|token|key|credential|private|dsn", re.IGNORECASE).search
#: In other texts: the user of a URL, and secrets among parameters.
_user = re.compile(r"(?<=://)\S*@")
_parameter = re.compile(
    r"((?:pass|pwd|secret|token|key|sig)\w*[\"']?\s*[=:]\s*)[^\s&;,]+", re.IGNORECASE
)


def described(settings: BaseModel, prefix: str | None = None) -> Iterator[tuple[str, object]]:
    """For each variable, without what is secret: its ``value``, and whether it is ``set``."""
    if prefix is None:
        prefix = str(settings.model_config.get("env_prefix", ""))
    for name in type(settings).model_fields:
        variable, value = f"{prefix}{name}".upper(), getattr(settings, name)
        if isinstance(value, BaseModel):
            yield from described(value, f"{variable}__")
        else:
            given = name in settings.model_fields_set
            yield variable, {"value": masked(variable, value), "set": given}


def masked(name: str, value: object) -> object:
    """``value`` as JSON can hold it, without what is secret; ``name`` may say that it is."""
    if value is None or value == "" or isinstance(value, bool):
        return value
    if isinstance(value, SecretStr | SecretBytes) or _secret(name):
        return MASK
    if isinstance(value, BaseModel):
        value = dict(value)
    if isinstance(value, Mapping):
        return {str(key): masked(str(key), one) for key, one in value.items()}
    if isinstance(value, Collection) and not isinstance(value, str | bytes):
        return [masked(name, one) for one in value]
    if isinstance(value, int | float) and math.isfinite(value):
        return value
    return _parameter.sub(rf"\1{MASK}", _user.sub(f"{MASK}@", str(value)))
