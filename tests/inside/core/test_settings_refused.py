"""Each wrong setting is refused with its own sentence, and all of them at once."""

import pytest

from app.environment import SettingsError, load, render, variables
from app.settings import PREFIX, Settings
from app.wiring import cluster, shedding

REFUSED = {
    "APP_PORT=0": "APP_PORT='0': Input should be greater than or equal to 1",
    "APP_PORT=http": "APP_PORT='http': Input should be a valid integer",
    "APP_MANAGEMENT_PORT=65536": "APP_MANAGEMENT_PORT='65536': Input should be less than",
    "APP_MANAGEMENT_PORT=8080": "APP_PORT and APP_MANAGEMENT_PORT are both 8080: they",
    "APP_KEEP_ALIVE_SECONDS=0": "APP_KEEP_ALIVE_SECONDS='0': Input should be greater than",
    "APP_KEEP_ALIVE_SECONDS=1.5": "APP_KEEP_ALIVE_SECONDS='1.5': Input should be a valid integer",
    "APP_SHUTDOWN__FLOOR_SECONDS=-1": "APP_SHUTDOWN__FLOOR_SECONDS='-1': Input should be greater",
    "APP_SHUTDOWN__SLACK_SECONDS=soon": "APP_SHUTDOWN__SLACK_SECONDS='soon': Input should be a val",
    "APP_SHUTDOWN__QUIET_SECONDS=inf": "APP_SHUTDOWN__QUIET_SECONDS='inf': Input should be",
    "APP_SHUTDOWN__LIMIT_SECONDS=nan": "APP_SHUTDOWN__LIMIT_SECONDS='nan': Input should be",
    "APP_SHUTDOWN__STREAM_SPREAD_SECONDS=3601": "APP_SHUTDOWN__STREAM_SPREAD_SECONDS='3601': Input",
    "APP_SHUTDOWN__STOP_SECONDS=1e9": "APP_SHUTDOWN__STOP_SECONDS='1e9': Input should be less",
    "APP_SHUTDOWN__GRACE_SECONDS=0": "APP_SHUTDOWN__GRACE_SECONDS='0': Input should be greater",
    "APP_SHUTDOWN__FLOOR_SECONDS=100": "is below APP_SHUTDOWN__FLOOR_SECONDS=100: raise the one",
    "APP_SHUTDOWN__FALLBACK_SECONDS=-1": "APP_SHUTDOWN__FALLBACK_SECONDS='-1': Input should be gr",
    "APP_SHUTDOWN__FALLBACK_SECONDS=99": "is below APP_SHUTDOWN__FALLBACK_SECONDS=99: raise the",
    "APP_KUBERNETES__SERVICES=Web": "APP_KUBERNETES__SERVICES='Web': should be like web:80",
    "APP_KUBERNETES__SERVICES=web:": "APP_KUBERNETES__SERVICES='web:': should be like web:80",
    "APP_KUBERNETES__SERVICES=web=a": "APP_KUBERNETES__SERVICES='web=a': should be like web:80",
    "APP_KUBERNETES__API=10.0.0.1": "APP_KUBERNETES__API='10.0.0.1': should be like https",
    "APP_PROXY__TRUSTED=10.0.0.1/8": "'10.0.0.1/8': 10.0.0.1/8 has host bits set; should be",
    "APP_PROXY__TRUSTED=::1, proxy": "'proxy' does not appear to be an IPv4 or IPv6 network;",
    "APP_PROXY__TRUSTED=*": "'*' does not appear to be an IPv4 or IPv6 network; should",
    "APP_PROXY__HEADERS=for,port": "APP_PROXY__HEADERS='for,port': should be like for,proto,host,",
    "APP_PROXY__ROOT_PATH=api/": "APP_PROXY__ROOT_PATH='api/': should be like /api",
    "APP_PROXY__IDLE_SECONDS=nan": "APP_PROXY__IDLE_SECONDS='nan': Input should be",
    "APP_PROXY__IDLE_SECONDS=75": "ALIVE_SECONDS=75 is not above APP_PROXY__IDLE_SECONDS=75:",
    "APP_PROBES__STALL_SECONDS=0": "APP_PROBES__STALL_SECONDS='0': Input should be greater than 0",
    "APP_PROBES__UNREADY_SECONDS=-2": "APP_PROBES__UNREADY_SECONDS='-2': Input should be greater",
    "APP_PROBES__MAIN_PORT=perhaps": "APP_PROBES__MAIN_PORT='perhaps': Input should be a valid boo",
    "APP_REQUESTS__HEADER_SECONDS=0": "APP_REQUESTS__HEADER_SECONDS='0': Input should be greater",
    "APP_REQUESTS__HEADER_BYTES=64K": "APP_REQUESTS__HEADER_BYTES='64K': Input should be a valid",
    "APP_REQUESTS__BODY_BYTES=-1": "APP_REQUESTS__BODY_BYTES='-1': Input should be greater than",
    "APP_REQUESTS__LEAST_RATE=inf": "APP_REQUESTS__LEAST_RATE='inf': Input should be a finite",
    "APP_REQUESTS__STALL_SECONDS=0": "APP_REQUESTS__STALL_SECONDS='0': Input should be greater",
    "APP_REQUESTS__MAX_CONNECTIONS=0": "APP_REQUESTS__MAX_CONNECTIONS='0': Input should be greater",
    "APP_REQUESTS__KEEP_ALIVE_LEAST_SECONDS=0": "APP_REQUESTS__KEEP_ALIVE_LEAST_SECONDS='0': Input",
    "APP_REQUESTS__KEEP_ALIVE_LEAST_SECONDS=76": "=76 is above APP_KEEP_ALIVE_SECONDS=75: raise",
    "APP_WEBSOCKETS__MESSAGE_BYTES=0": "APP_WEBSOCKETS__MESSAGE_BYTES='0': Input should be greater",
    "APP_WEBSOCKETS__PING_SECONDS=0": "APP_WEBSOCKETS__PING_SECONDS='0': Input should be greater",
    "APP_WEBSOCKETS__PONG_SECONDS=nan": "APP_WEBSOCKETS__PONG_SECONDS='nan': Input should be",
    "APP_WEBSOCKETS__IDLE_SECONDS=-1": "APP_WEBSOCKETS__IDLE_SECONDS='-1': Input should be greater",
    "APP_WEBSOCKETS__MAX_OPEN=0": "APP_WEBSOCKETS__MAX_OPEN='0': Input should be greater than or",
    "APP_REQUESTS__TIMEOUT_SECONDS=-1": "APP_REQUESTS__TIMEOUT_SECONDS='-1': Input should be",
    "APP_REQUESTS__TIMEOUT_SECONDS=19": "=19 is above APP_SHUTDOWN__LIMIT_SECONDS=18: a stop would",
    "APP_REQUESTS__MAX_IN_FLIGHT=0": "APP_REQUESTS__MAX_IN_FLIGHT='0': Input should be greater",
    "APP_REQUESTS__IN_FLIGHT_LIMIT=auto": "IN_FLIGHT_LIMIT='auto': Input should be 'fixed' or 'ad",
    "APP_REQUESTS__IN_FLIGHT_LIMIT=adaptive": "=adaptive needs APP_REQUESTS__MAX_IN_FLIGHT: set",
    "APP_REQUESTS__MIN_IN_FLIGHT=0": "APP_REQUESTS__MIN_IN_FLIGHT='0': Input should be greater",
    "APP_REQUESTS__QUEUE=-1": "APP_REQUESTS__QUEUE='-1': Input should be greater than or equal",
    "APP_REQUESTS__QUEUE_SECONDS=0": "APP_REQUESTS__QUEUE_SECONDS='0': Input should be greater",
    "APP_REQUESTS__PRIORITY=on": "APP_REQUESTS__PRIORITY='on': Input should be 'off', 'header' or",
    "APP_REQUESTS__PRIORITY_HEADER=a:b": "PRIORITY_HEADER='a:b': should be like X-Priority",
    "APP_REQUESTS__RESERVED_SHARE=1": "APP_REQUESTS__RESERVED_SHARE='1': Input should be less",
    "APP_LOG__LEVEL=loud": "APP_LOG__LEVEL='loud': Input should be 'debug', 'info', 'warning' or",
    "APP_LOG__FORMAT=xml": "APP_LOG__FORMAT='xml': Input should be 'auto', 'json' or 'console'",
    "APP_LOG__ACCESS=2": "APP_LOG__ACCESS='2': Input should be a valid boolean",
    "APP_LOG__ACCESS_SHARE=2": "APP_LOG__ACCESS_SHARE='2': Input should be less than or equal to 1",
#% if cookiecutter.tls == "yes"
    "APP_TLS__CERTIFICATE=/tls.crt": "APP_TLS__CERTIFICATE=/tls.crt is set but APP_TLS__KEY is not",
    "APP_TLS__KEY=/tls.key": "APP_TLS__KEY=/tls.key is set but APP_TLS__CERTIFICATE is not",
    "APP_TLS__MINIMUM_VERSION=1.1": "MINIMUM_VERSION='1.1': Input should be '1.2' or '1.3'",
    "APP_TLS__CHECK_SECONDS=0": "APP_TLS__CHECK_SECONDS='0': Input should be greater than 0",
#% endif
#% if cookiecutter.database == "postgresql"
    "APP_DATABASE__URL=mysql://b/c": "APP_DATABASE__URL begins with mysql:, but must begin with",
    "APP_DATABASE__POOL_SIZE=0": "APP_DATABASE__POOL_SIZE='0': Input should be greater than or",
    "APP_DATABASE__POOLER=pgpool": "APP_DATABASE__POOLER='pgpool': Input should be 'none' or 'pgb",
    "APP_DATABASE__CHECKOUT_SECONDS=0": "APP_DATABASE__CHECKOUT_SECONDS='0': Input should be gre",
    "APP_DATABASE__CONNECT_SECONDS=nan": "APP_DATABASE__CONNECT_SECONDS='nan': Input should be a",
    "APP_DATABASE__LIFETIME_SECONDS=0": "APP_DATABASE__LIFETIME_SECONDS='0': Input should be gre",
    "APP_DATABASE__IDLE_SECONDS=-1": "APP_DATABASE__IDLE_SECONDS='-1': Input should be greater",
    "APP_DATABASE__STATEMENT_SECONDS=-1": "APP_DATABASE__STATEMENT_SECONDS='-1': Input should be",
    "APP_DATABASE__LEAK_SECONDS=0": "APP_DATABASE__LEAK_SECONDS='0': Input should be greater than",
    "APP_DATABASE__GATING=perhaps": "APP_DATABASE__GATING='perhaps': Input should be a valid bool",
    "APP_MIGRATIONS__URL=nonsense": "APP_MIGRATIONS__URL has no scheme, but must begin with",
    "APP_MIGRATIONS__LOCK_SECONDS=0": "APP_MIGRATIONS__LOCK_SECONDS='0': Input should be greater",
    "APP_MIGRATIONS__STATEMENT_SECONDS=inf": "APP_MIGRATIONS__STATEMENT_SECONDS='inf': Input",
    "APP_MIGRATIONS__WAIT_SECONDS=soon": "APP_MIGRATIONS__WAIT_SECONDS='soon': Input should be a",
    "APP_MIGRATIONS__GATING=2": "APP_MIGRATIONS__GATING='2': Input should be a valid boolean",
    "APP_OUTBOX__CONCURRENCY=0": "APP_OUTBOX__CONCURRENCY='0': Input should be greater than or",
    "APP_OUTBOX__POLL_SECONDS=0": "APP_OUTBOX__POLL_SECONDS='0': Input should be greater than 0",
    "APP_OUTBOX__TIMEOUT_SECONDS=nan": "APP_OUTBOX__TIMEOUT_SECONDS='nan': Input should be a",
    "APP_OUTBOX__ATTEMPTS=1.5": "APP_OUTBOX__ATTEMPTS='1.5': Input should be a valid integer",
    "APP_OUTBOX__KEEP_HOURS=-1": "APP_OUTBOX__KEEP_HOURS='-1': Input should be greater than",
#% endif
#% if cookiecutter.leader_election == "yes"
    "APP_LEADER_ELECTION__LEASE=A": "APP_LEADER_ELECTION__LEASE='A': should be like web",
    "APP_LEADER_ELECTION__LEASE_SECONDS=2.5": "APP_LEADER_ELECTION__LEASE_SECONDS='2.5': Input",
    "APP_LEADER_ELECTION__LEASE_SECONDS=10": "is not above APP_LEADER_ELECTION__RENEW_SECONDS=10:",
    "APP_LEADER_ELECTION__RENEW_SECONDS=inf": "APP_LEADER_ELECTION__RENEW_SECONDS='inf': Input",
    "APP_LEADER_ELECTION__RENEW_SECONDS=2.4": "above 1.2 times APP_LEADER_ELECTION__RETRY_SECONDS",
    "APP_LEADER_ELECTION__RETRY_SECONDS=0": "APP_LEADER_ELECTION__RETRY_SECONDS='0': Input",
    "APP_LEADER_ELECTION__FINISH_SECONDS=-1": "APP_LEADER_ELECTION__FINISH_SECONDS='-1': Input",
#% endif
#% if cookiecutter.service_registry != "none"
    "APP_REGISTRY__URL=registry:80": "APP_REGISTRY__URL='registry:80': should be like http",
    "APP_REGISTRY__URL=http://a@b": "APP_REGISTRY__URL='http://a@b': should be like http",
    "APP_REGISTRY__STRATEGY=poll": "APP_REGISTRY__STRATEGY='poll': Input should be 'heartbeat'",
    "APP_REGISTRY__SERVICE=a/b": "APP_REGISTRY__SERVICE='a/b': should be like web",
    "APP_REGISTRY__ADDRESS=a b": "APP_REGISTRY__ADDRESS='a b': should be like 10.0.0.7",
    "APP_REGISTRY__TAGS=a,,b": "APP_REGISTRY__TAGS='a,,b': should be like v1,public",
    "APP_REGISTRY__INTERVAL_SECONDS=0": "APP_REGISTRY__INTERVAL_SECONDS='0': Input should be",
    "APP_REGISTRY__TTL_SECONDS=2.5": "APP_REGISTRY__TTL_SECONDS='2.5': Input should be a valid",
    "APP_REGISTRY__TTL_SECONDS=12": "APP_REGISTRY__TTL_SECONDS=12 is not above 2.4 times APP_REG",
    "APP_REGISTRY__FAILURES=0": "APP_REGISTRY__FAILURES='0': Input should be greater than or",
    "APP_REGISTRY__SUCCESSES=101": "APP_REGISTRY__SUCCESSES='101': Input should be less than or",
    "APP_REGISTRY__TIMEOUT_SECONDS=nan": "APP_REGISTRY__TIMEOUT_SECONDS='nan': Input should be",
    "APP_REGISTRY__READ_BACK_SECONDS=0": "APP_REGISTRY__READ_BACK_SECONDS='0': Input should be",
    "APP_REGISTRY__DEREGISTER_SECONDS=0": "APP_REGISTRY__DEREGISTER_SECONDS='0': Input should be",
    "APP_REGISTRY__READERS_SECONDS=-1": "APP_REGISTRY__READERS_SECONDS='-1': Input should be",
#% endif
#% if cookiecutter.service_registry == "nacos"
    "APP_REGISTRY__NAMESPACE=a b": "APP_REGISTRY__NAMESPACE='a b': should be like public",
    "APP_REGISTRY__GROUP=a@@b": "APP_REGISTRY__GROUP='a@@b': should be like DEFAULT_GROUP",
#% endif
#% if cookiecutter.service_registry == "etcd"
    "APP_REGISTRY__PREFIX=services": "APP_REGISTRY__PREFIX='services': should be like /services/",
#% endif
    "APP_SHUTDOWN__FLOR_SECONDS=5": "did you mean APP_SHUTDOWN__FLOOR_SECONDS?",
    "APP_XYZZY=1": "APP_XYZZY is not a setting: `python -m app settings` lists them",
}


@pytest.mark.parametrize("assignment", REFUSED)
def test_each_wrong_one_has_its_sentence(
    bare_environment: pytest.MonkeyPatch, assignment: str
) -> None:
    name, _, value = assignment.partition("=")
    bare_environment.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        load()
    (sentence,) = str(refused.value).splitlines()
    assert REFUSED[assignment] in sentence
    assert name in sentence


def test_every_setting_can_be_wrong() -> None:
    """A new setting needs a line above; a text that may be anything is the exception."""
    free = {"APP_HOST", "APP_CONTROL_SOCKET", "APP_KUBERNETES__CREDENTIALS"}
#% if cookiecutter.database == "postgresql"
    free |= {"APP_DATABASE__PASSWORD_FILE"}
#% endif
#% if cookiecutter.service_registry != "none"
    secrets = ("TOKEN", "TOKEN_FILE", "USERNAME", "PASSWORD", "PASSWORD_FILE", "CA_FILE")
    free |= {f"APP_REGISTRY__{name}" for name in secrets}
#% endif
    tried = {assignment.partition("=")[0] for assignment in REFUSED}
    assert {name for name, _ in variables()} - tried <= free


def test_the_limits_of_requests_are_in_order(bare_environment: pytest.MonkeyPatch) -> None:
    bare_environment.setenv("APP_REQUESTS__IN_FLIGHT_LIMIT", "adaptive")
    bare_environment.setenv("APP_REQUESTS__MAX_IN_FLIGHT", "3")
    with pytest.raises(SettingsError, match=r"MAX_IN_FLIGHT=3 is below .*MIN_IN_FLIGHT=4: raise"):
        load()
    bare_environment.setenv("APP_REQUESTS__MAX_IN_FLIGHT", "4")
    assert (shedding(load().requests) or pytest.fail()).adaptive


def test_the_least_keep_alive_is_longer_than_that_of_the_proxy(
    bare_environment: pytest.MonkeyPatch,
) -> None:
    bare_environment.setenv("APP_PROXY__IDLE_SECONDS", "60")
    bare_environment.setenv("APP_REQUESTS__KEEP_ALIVE_LEAST_SECONDS", "60")
    with pytest.raises(SettingsError, match=r"LEAST_SECONDS=60 is not above APP_PROXY__IDLE_SECO"):
        load()
    bare_environment.setenv("APP_REQUESTS__KEEP_ALIVE_LEAST_SECONDS", "61")
    assert load().requests.keep_alive_least_seconds == 61


def test_all_are_reported_at_once(bare_environment: pytest.MonkeyPatch) -> None:
    wrong = {"APP_PORT": "x", "APP_LOG__LEVEL": "loud", "APP_NONSENSE": "1"}
    for name, value in wrong.items():
        bare_environment.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        load()
    sentences = str(refused.value).splitlines()
    assert len(sentences) == 3
    assert all(any(name in sentence for sentence in sentences) for name in wrong)


@pytest.mark.parametrize("host, fallback", [(None, 0.0), ("10.0.0.1", 5.0)])
def test_the_fallback_is_a_matter_of_where_it_runs(
    bare_environment: pytest.MonkeyPatch, host: str | None, fallback: float
) -> None:
    if host is not None:
        bare_environment.setenv("KUBERNETES_SERVICE_HOST", host)
    assert Settings().shutdown.fallback_seconds == fallback
    bare_environment.setenv("APP_SHUTDOWN__QUIET_SECONDS", "2")
    shutdown = Settings().shutdown
    assert shutdown.fallback_seconds == fallback, "one of the group does not hide the others"
    assert shutdown.floor_seconds == 0.0


@pytest.mark.parametrize(
    ("services", "parsed"),
    [
        ("", ()),
        ("web", (("web", "", 0),)),
        ("web:80, web-internal", (("web", "", 80), ("web-internal", "", 0))),
        ("web=10.0.0.7:80,b=[fd00::1]:8", (("web", "10.0.0.7", 80), ("b", "fd00::1", 8))),
    ],
)
def test_services_have_a_name_and_perhaps_an_address(
    bare_environment: pytest.MonkeyPatch, services: str, parsed: tuple[tuple[str, str, int], ...]
) -> None:
    bare_environment.setenv("APP_KUBERNETES__SERVICES", services)
    assert cluster(load()).services == parsed


def test_without_probes_on_the_main_port_nobody_is_asked_who_answers(
    bare_environment: pytest.MonkeyPatch,
) -> None:
    bare_environment.setenv("APP_KUBERNETES__SERVICES", "web:80")
    bare_environment.setenv("APP_PROBES__MAIN_PORT", "false")
    assert cluster(load()).services == (("web", "", 0),)


def test_values_come_from_the_environment(bare_environment: pytest.MonkeyPatch) -> None:
    bare_environment.setenv("APP_SHUTDOWN__LIMIT_SECONDS", "12.5")
    bare_environment.setenv("APP_LOG__ACCESS", "false")
    bare_environment.setenv("APP_PORT", "")
    settings = load()
    assert settings.shutdown.limit_seconds == 12.5
    assert settings.log.access is False
    assert settings.port == 8080, "an empty variable is none"


def test_the_table_lists_every_variable_with_default_and_meaning(
    bare_environment: pytest.MonkeyPatch,
) -> None:
    table = render()
    for name, info in variables():
        assert name.startswith(PREFIX)
        assert f"{name}  (default " in table
        assert info.description, f"{name} has no meaning"
        if name.endswith("_SECONDS"):
            (line,) = [line for line in table.splitlines() if line.startswith(f"{name} ")]
            assert line.endswith("seconds)")
            assert " to " in line, "its range"
