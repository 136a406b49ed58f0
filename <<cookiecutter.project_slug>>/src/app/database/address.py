"""The address of the database: a URL as libpq reads it, checked before anything connects."""

import difflib
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

Driver = Literal["asyncpg", "psycopg"]

SCHEMES: dict[str, Driver] = {
    "postgresql": "asyncpg",
    "postgres": "asyncpg",
    "postgresql+asyncpg": "asyncpg",
    "postgresql+psycopg": "psycopg",
}
#: Values of parameters that have few.
CHOICES = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "target_session_attrs": (
        "any", "read-write", "read-only", "primary", "standby", "prefer-standby",
    ),
}  # fmt: skip
#: Parameters of libpq that asyncpg understands, or passes on to the server.
KNOWN = (
    "application_name dbname host krbsrvname options passfile password port sslcert sslcrl sslkey "
    "ssl_max_protocol_version ssl_min_protocol_version sslmode sslnegotiation sslpassword "
    "sslrootcert target_session_attrs user"
)
#: Parameters that change nothing for asyncpg, which has no such thing or always does so.
IGNORED = (
    "client_encoding fallback_application_name gssencmode keepalives keepalives_count "
    "keepalives_idle keepalives_interval load_balance_hosts sslcompression sslsni "
    "tcp_user_timeout"
)
#: Parameters that are read here.
OWN = "channel_binding connect_timeout"


@dataclass(frozen=True, slots=True)
class Address:
    """Where the database is. ``dsn`` has the password: never log it."""

    driver: Driver
    dsn: str = field(repr=False)
    host: str
    port: int
    name: str
    #: The parameters of ``dsn``.
    parameters: dict[str, str] = field(repr=False)
    #: Seconds; None: not given.
    connect_timeout: float | None = None

    @property
    def system_roots(self) -> bool:
        """Whether the certificate is checked against the roots of the system."""
        return self.parameters.get("sslrootcert") == "system"


def read(url: str) -> Address:
    """Read ``url``. Raises ValueError with a sentence that does not quote it: it has a password."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ValueError(f"URL is no URL ({error}): {_ENCODE}") from None
    if parts.scheme not in SCHEMES:
        begin = f"begins with {parts.scheme}:" if parts.scheme else "has no scheme"
        raise ValueError(
            f"URL {begin}, but must begin with postgresql:// (or postgres://, or "
            "postgresql+psycopg:// with psycopg installed)"
        )
    if parts.fragment:
        raise ValueError(f"URL has a # in it: {_ENCODE}")
    user, at, hosts = parts.netloc.rpartition("@")
    if "@" in user:
        raise ValueError(f"URL has more than one @: {_ENCODE}")
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    host, port = _first_host(hosts or given.get("host", ""), given.get("port", ""))
    driver = SCHEMES[parts.scheme]
    parameters = _checked(given, driver)
    name = unquote(parts.path.lstrip("/")) or given.get("dbname", "")
    if not name:
        raise ValueError("URL names no database: it must end like @host:5432/name")
    query = f"?{urlencode(parameters)}" if parameters else ""
    timeout = given.get("connect_timeout")
    return Address(
        driver=driver,
        dsn=f"postgresql://{user}{at}{hosts}{parts.path}{query}",
        host=host,
        port=port,
        name=name,
        parameters=parameters,
        connect_timeout=float(timeout) if timeout else None,
    )


_ENCODE = "write special characters of the user and the password as %40 for @, %2F for /, %23 for #"


def _first_host(hosts: str, ports: str) -> tuple[str, int]:
    """The first of ``host:port,host:port``; each must have a number for its port."""
    if not hosts:
        raise ValueError("URL names no host: it must be like postgresql://user:password@host/name")
    found = []
    for one, beside in zip(hosts.split(","), [*ports.split(","), *[""] * 99], strict=False):
        host, colon, port = one.rpartition(":") if not one.endswith("]") else (one, "", "")
        if not colon:
            host, port = one, beside or ports
        if not host or (port and not (port.isdecimal() and 0 < int(port) < 65536)):
            raise ValueError(f"URL has a host without a name or a port that is none: {_ENCODE}")
        found.append((unquote(host).strip("[]"), int(port or 5432)))
    return found[0]


def _checked(given: dict[str, str], driver: Driver) -> dict[str, str]:
    """The parameters that the driver gets."""
    for name, choices in CHOICES.items():
        if name in given and given[name] not in choices:
            raise ValueError(
                f"URL has {name}={given[name]}: it must be one of {', '.join(choices)}"
            )
    if (timeout := given.get("connect_timeout")) is not None and not timeout.isdecimal():
        raise ValueError(f"URL has connect_timeout={timeout}: it must be whole seconds")
    parameters = {name: value for name, value in given.items() if name != "connect_timeout"}
    if driver == "psycopg":  # libpq reads them itself
        return parameters
    if given.get("channel_binding") == "require":
        raise ValueError(
            "URL has channel_binding=require, which asyncpg cannot do: leave it out, with "
            "sslmode=verify-full, or install psycopg and write postgresql+psycopg://"
        )
    passed = KNOWN.split()
    for name in given:
        if name not in (*passed, *IGNORED.split(), *OWN.split()):
            near = difflib.get_close_matches(name, passed, n=1)
            hint = f"did you mean {near[0]}?" if near else "server settings go into options"
            raise ValueError(f"URL has the parameter {name}, which is not known: {hint}")
    return {name: value for name, value in parameters.items() if name in passed}
