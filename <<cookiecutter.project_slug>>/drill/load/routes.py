"""The routes that the load calls: ``drill.toml``, or those of ``app/api/examples.py``."""

import tomllib
#% if cookiecutter.database == "postgresql"
import uuid
#% endif
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from drill.errors import DrillError
from drill.load.ledger import Kind

#: The weight of each kind of request, by default.
SHARES: Mapping[Kind, int] = {
    Kind.NEW: 10,
    Kind.KEPT: 4,
    Kind.CHECKED: 3,
    Kind.SLOW: 1,
    Kind.UPLOAD: 1,
    Kind.JOB: 1,
#% if cookiecutter.database == "postgresql"
    Kind.WRITE: 2,
#% endif
}


@dataclass(frozen=True)
class Call:
    """A request. ``path`` may have a query."""

    path: str
    method: str = "GET"
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


#% if cookiecutter.database == "postgresql"
@dataclass(frozen=True)
class Write(Call):
    """A request that must be stored once; ``{id}`` in its body and headers differs each time."""

    def new(self) -> Call:
        """The next of them."""
        name = uuid.uuid4().hex
        headers = {key: value.replace("{id}", name) for key, value in self.headers.items()}
        return Call(self.path, self.method, self.body.replace("{id}", name), headers)


#% endif
@dataclass(frozen=True)
class Upload(Call):
    """A request with a body padded by white space to ``octets`` and sent over ``seconds``."""

    octets: int = 65_536
    seconds: float = 0.6


@dataclass(frozen=True)
class Job(Call):
    """A request for work that continues after the response.

    The response is JSON with the job's id in field ``id``. When the work is done,
    the service logs the event ``done`` with the id in field ``done_id``.
    """

    id: str = "id"
    done: str = "job done"
    done_id: str = "job_id"


@dataclass(frozen=True)
class Wait(Call):
    """A request whose handler waits for ``seconds`` and needs little CPU."""

    seconds: float = 0.5


@dataclass(frozen=True)
class Routes:
    """The routes and how often they are called. A kind without a route is not sent."""

    plain: Call | None = Call("/hello")
    slow: Call | None = Call("/slow?seconds=1.5")
    upload: Upload | None = Upload("/jobs", "POST", '{"seconds": 0, "note": "drill upload"}')
    job: Job | None = Job("/jobs", "POST", '{"seconds": 0.5, "note": "drill"}')
    events: Call | None = Call("/events")
    echo: Call | None = Call("/echo")
    #: For the scenario ``overload``.
    wait: Wait | None = Wait("/slow?seconds=0.5")
    #: For the scenario ``slow-clients``: a response of several MiB.
    download: Call | None = Call("/lines?count=100000")
#% if cookiecutter.database == "postgresql"
    write: Write | None = Write(
        "/notes", "POST", '{"title": "drill {id}"}', {"Idempotency-Key": "{id}"}
    )
#% endif
    #: The weight of each kind of request.
    shares: Mapping[Kind, int] = field(default_factory=lambda: dict(SHARES))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises DrillError if the file is missing, is not TOML or has unknown names."""
        try:
            document = tomllib.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise DrillError(f"{path} cannot be read: {error}.") from error
        return cls.parse(document, str(path))

    @classmethod
    def parse(cls, document: Mapping[str, Any], name: str = "drill.toml") -> Self:
        tables = dict(document)
        shares = _shares(tables.pop("shares", {}), name)
        if unknown := sorted(set(tables) - set(KINDS)):
            raise DrillError(
                f"{name}: unknown table [{unknown[0]}]; known are {', '.join(KINDS)} and shares."
            )
        calls = {
            key: _call(kind, tables[key], key, name) for key, kind in KINDS.items() if key in tables
        }
        routes: dict[str, Any] = {key: calls.get(key) for key in KINDS}
        return cls(**routes, shares=shares)

    def sent(self) -> dict[Kind, int]:
        """Return the shares of the kinds that have a route."""
        routes = {
            Kind.NEW: self.plain,
            Kind.KEPT: self.plain,
            Kind.CHECKED: self.plain,
            Kind.SLOW: self.slow,
            Kind.UPLOAD: self.upload,
            Kind.JOB: self.job,
#% if cookiecutter.database == "postgresql"
            Kind.WRITE: self.write,
#% endif
        }
        return {kind: share for kind, share in self.shares.items() if share and routes[kind]}


KINDS: Mapping[str, type[Call]] = {
    "plain": Call,
    "slow": Call,
    "upload": Upload,
    "job": Job,
#% if cookiecutter.database == "postgresql"
    "write": Write,
#% endif
    "events": Call,
    "echo": Call,
    "wait": Wait,
    "download": Call,
}


def _call(kind: type[Call], table: Any, key: str, name: str) -> Call:
    known = {field.name: type(field.default) for field in fields(kind)} | {
        "path": str,
        "headers": dict,
    }
    for option, value in dict(table).items():
        if option not in known:
            raise DrillError(
                f"{name}: [{key}] has unknown {option!r}; known are {', '.join(known)}."
            )
        wanted = (int, float) if known[option] is float else known[option]
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise DrillError(
                f"{name}: {key}.{option} is {value!r}: it must be {known[option].__name__}."
            )
    if not str(table.get("path", "")).startswith("/"):
        raise DrillError(f"{name}: {key}.path is {table.get('path')!r}: it must begin with '/'.")
    return kind(**table)


def _shares(table: Mapping[str, Any], name: str) -> dict[Kind, int]:
    by_name = {kind.name.lower(): kind for kind in SHARES}
    shares = dict(SHARES)
    for key, share in table.items():
        if key not in by_name or type(share) is not int or not 0 <= share <= 100:
            raise DrillError(
                f"{name}: shares.{key} is {share!r}: use 0 to 100 for one of {', '.join(by_name)}."
            )
        shares[by_name[key]] = share
    if not any(shares.values()):
        raise DrillError(f"{name}: all shares are 0, so nothing would be sent.")
    return shares
