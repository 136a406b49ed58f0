"""A certificate that is renewed, well or badly, while clients use the service."""

import threading
import time
from pathlib import Path

import pytest

from tests.certificates import Issued, Secret, Secured, issue
from tests.conftest import Start
from tests.harness import HOST, Service, eventually
from tests.scraped import families, samples

NONE: frozenset[tuple[str, str]] = frozenset()


@pytest.fixture
def secret(tmp_path: Path) -> Secret:
    return Secret(tmp_path / "secret", issue())


def metric(service: Service, name: str) -> float:
    return samples(families(service))[f"app_tls_{name}", NONE]


def shown(service: Service) -> str:
    with Secured(HOST, service.port) as client:
        assert client.get("/hello").status == 200
        return client.serial


def test_a_rotation_under_load_fails_no_request(serve: Start, secret: Secret) -> None:
    service = serve("tests.application", **secret.settings)
    over, lost, seen = threading.Event(), list[str](), set[str]()

    def client() -> None:
        while not over.is_set():
            try:
                with Secured(HOST, service.port) as connection:
                    for _ in range(3):
                        if (answer := connection.get("/hello")).status != 200:
                            lost.append(str(answer))
                    seen.add(connection.serial)
            except OSError as error:
                lost.append(repr(error))

    clients = [threading.Thread(target=client) for _ in range(4)]
    with Secured(HOST, service.port) as kept, Secured(HOST, service.port) as stream:
        first = kept.serial
        stream.ask("/events")
        stream.head()
        for one in clients:
            one.start()
        issued = [issue(kind="ec"), issue(kind="rsa"), issue(kind="ec")]
        for new in issued:
            secret.renew(new)
            eventually(lambda new=new: new.serial in seen, "a handshake with the new one")  # type: ignore[misc]
        over.set()
        for one in clients:
            one.join()
        assert lost == []
        assert seen <= {first, *(new.serial for new in issued)}
        assert shown(service) == issued[-1].serial
        assert kept.get("/hello").status == 200
        assert stream.chunk()
    assert len(service.lines("certificate reloaded")) == 3
    assert metric(service, "reload_failures_total") == 0


def encrypted() -> Issued:
    return issue(password=b"secret")


def half_written() -> Issued:
    whole = issue()
    return whole._replace(certificate=whole.certificate[:300])


def mismatching() -> Issued:
    return issue()._replace(key=issue().key)


def expired() -> Issued:
    return issue(-1, begin=-2)


def empty() -> Issued:
    return Issued(b"", b"", "")


BROKEN = [encrypted, half_written, mismatching, expired, empty]


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_pair_is_reported_and_the_old_one_stays(
    serve: Start, secret: Secret, broken: type
) -> None:
    service = serve("tests.application", **secret.settings)
    first, until = shown(service), metric(service, "certificate_not_after_timestamp_seconds")
    secret.renew(broken())
    said = service.logged("certificate not reloaded")
    assert str(secret.folder) in said["reason"]
    assert said["serial"] == first
    eventually(lambda: metric(service, "reload_failures_total") >= 3, "more attempts")
    assert shown(service) == first
    assert metric(service, "certificate_not_after_timestamp_seconds") == until
    assert len(service.lines("certificate not reloaded")) == 1

    good = issue(30)
    secret.renew(good)
    assert service.logged("certificate reloaded")["serial"] == good.serial
    assert shown(service) == good.serial
    assert metric(service, "certificate_not_after_timestamp_seconds") < until
    failed = metric(service, "reload_failures_total")
    for _ in range(5):
        shown(service)
    assert metric(service, "reload_failures_total") == failed


def test_a_pair_that_is_gone_for_a_while_is_missed(serve: Start, secret: Secret) -> None:
    service = serve("tests.application", **secret.settings)
    first, link = shown(service), secret.folder / "..data"
    target = link.readlink()
    link.unlink()
    service.logged("certificate not reloaded")
    assert shown(service) == first
    link.symlink_to(target)
    failed = metric(service, "reload_failures_total")
    again = issue()
    secret.renew(again)
    service.logged("certificate reloaded", serial=again.serial)
    assert failed > 0


def test_files_that_are_written_one_after_the_other_are_taken_when_both_are_there(
    serve: Start, secret: Secret
) -> None:
    service, new = serve("tests.application", **secret.settings), issue()
    first = shown(service)
    (secret.folder / "tls.crt").write_bytes(new.certificate)
    service.logged("certificate not reloaded")
    assert shown(service) == first
    (secret.folder / "tls.key").write_bytes(new.key)
    service.logged("certificate reloaded", serial=new.serial)
    assert shown(service) == new.serial


@pytest.mark.parametrize("broken", [encrypted, half_written, mismatching, empty])
def test_a_start_with_a_broken_pair_is_refused(start: Start, secret: Secret, broken: type) -> None:
    secret.renew(broken())
    service = start("tests.application", **secret.settings)
    assert service.ended() == 3
    (sentence,) = service.stderr.splitlines()
    assert str(secret.folder) in sentence
    assert "APP_TLS__" in sentence


def test_a_start_with_an_expired_one_is_loud(serve: Start, secret: Secret) -> None:
    secret.renew(old := expired())
    service = serve("tests.application", **secret.settings)
    assert service.lines("certificate has expired: issue a new one", serial=old.serial)
    assert shown(service) == old.serial
    secret.renew(new := issue())
    service.logged("certificate reloaded", serial=new.serial)


@pytest.mark.parametrize("missing", ["CERTIFICATE", "KEY"])
def test_half_a_pair_of_settings_is_refused(start: Start, secret: Secret, missing: str) -> None:
    service = start(**{**secret.settings, f"APP_TLS__{missing}": ""})
    assert service.ended() == 2
    (sentence,) = service.stderr.splitlines()
    assert f"APP_TLS__{missing}" in sentence


def test_long_lists_of_issuers_and_years_after_2050_are_understood(
    serve: Start, secret: Secret
) -> None:
    far = issue(365 * 30)
    chain = far.certificate + b"".join(issue().certificate for _ in range(20))
    secret.renew(far._replace(certificate=b"# a comment\n" + chain))
    service = serve("tests.application", **secret.settings)
    assert shown(service) == far.serial
    until = metric(service, "certificate_not_after_timestamp_seconds")
    assert abs(until - time.time() - 365 * 30 * 86400) < 600
