"""What the clients call: ``drill.toml``, and without it the routes of ``app/api/examples.py``."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from drill.errors import DrillError
from drill.load.ledger import Kind

#: Of 20 requests, how many are of each kind, where drill.toml does not say.
SHARES: Mapping[Kind, int] = {
    Kind.NEW: 10,
    Kind.KEPT: 4,
    Kind.CHECKED: 3,
    Kind.SLOW: 1,
    Kind.UPLOAD: 1,
    Kind.JOB: 1,
}


@dataclass(frozen=True)
class Call:
    """One request. A ``path`` may have a query."""

    path: str
    method: str = "GET"
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Upload(Call):
    """A request whose body is padded with white space to ``octets`` and sent over ``seconds``."""

    octets: int = 65_536
    seconds: float = 0.6


@dataclass(frozen=True)
class Job(Call):
    """A request for work that goes on after its answer.

    The answer is JSON and has the job's id in field ``id``; when the work is
    done the service logs the event ``done`` with that id in its field ``done_id``.
    """

    id: str = "id"
    done: str = "job done"
    done_id: str = "job_id"


@dataclass(frozen=True)
class Routes:
    """What there is to call, and how often. A kind without a route is not sent."""

    plain: Call | None = Call("/hello")
    slow: Call | None = Call("/slow?seconds=1.5")
    upload: Upload | None = Upload("/jobs", "POST", '{"seconds": 0, "note": "drill upload"}')
    job: Job | None = Job("/jobs", "POST", '{"seconds": 0.5, "note": "drill"}')
    events: Call | None = Call("/events")
    echo: Call | None = Call("/echo")
    #: Of 20 requests, how many are of each kind.
    shares: Mapping[Kind, int] = field(default_factory=lambda: dict(SHARES))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises DrillError for what is not there, not TOML or not known."""
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
                f"{name} has [{unknown[0]}]: it can have {', '.join(KINDS)} and shares."
            )
        calls = {
            key: _call(kind, tables[key], key, name) for key, kind in KINDS.items() if key in tables
        }
        routes: dict[str, Any] = {key: calls.get(key) for key in KINDS}
        return cls(**routes, shares=shares)

    def sent(self) -> dict[Kind, int]:
        """The shares of the kinds of requests that have a route."""
        routes = {
            Kind.NEW: self.plain,
            Kind.KEPT: self.plain,
            Kind.CHECKED: self.plain,
            Kind.SLOW: self.slow,
            Kind.UPLOAD: self.upload,
            Kind.JOB: self.job,
        }
        return {kind: share for kind, share in self.shares.items() if share and routes[kind]}


KINDS: Mapping[str, type[Call]] = {
    "plain": Call,
    "slow": Call,
    "upload": Upload,
    "job": Job,
    "events": Call,
    "echo": Call,
}


def _call(kind: type[Call], table: Any, key: str, name: str) -> Call:
    known = {field.name: type(field.default) for field in fields(kind)} | {
        "path": str,
        "headers": dict,
    }
    for option, value in dict(table).items():
        if option not in known:
            raise DrillError(f"{name}: [{key}] has {option!r}: it can have {', '.join(known)}.")
        wanted = (int, float) if known[option] is float else known[option]
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise DrillError(
                f"{name}: {key}.{option} is {value!r}: {known[option].__name__} wanted."
            )
    if not str(table.get("path", "")).startswith("/"):
        raise DrillError(f"{name}: {key}.path is {table.get('path')!r}: a path begins with '/'.")
    return kind(**table)


def _shares(table: Mapping[str, Any], name: str) -> dict[Kind, int]:
    by_name = {kind.name.lower(): kind for kind in SHARES}
    shares = dict(SHARES)
    for key, share in table.items():
        if key not in by_name or type(share) is not int or not 0 <= share <= 100:
            raise DrillError(
                f"{name}: shares.{key} is {share!r}: 0 to 100 for one of {', '.join(by_name)}."
            )
        shares[by_name[key]] = share
    if not any(shares.values()):
        raise DrillError(f"{name}: all shares are 0: nothing would be sent.")
    return shares
