"""What the API can do to an election, with a real server that does it."""

import shutil
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.harness import PROJECT, eventually
from tests.leader_election.contenders import LEASE, LONG_LEASE, RENEW, RETRY, Contenders
from tests.leader_election.lease_server import TOKEN, Json, LeaseServer, lease_server

pytestmark = pytest.mark.slow  # reading the client takes each process a second or two


@pytest.mark.parametrize("how", ["hangs", "refuses", "is gone"])
def test_a_leader_that_cannot_renew_ends_its_work_before_others_may_lead(
    pods: Contenders, server: LeaseServer, how: str
) -> None:
    first, second = pods.pair("tidy")
    before = time.monotonic()
    if how == "hangs":
        server.answering.clear()
    elif how == "refuses":
        server.refuse["*"] = 500
    else:
        server.close()
    line = first.logged("singleton cut off", task="tidy")
    assert line["cleaned_up"] is True
    (end,) = pods.notes("first", "end")
    assert RENEW - 1.2 * RETRY - 0.1 < end.at - before < LEASE
    for service in (first, second):
        assert service.get("/block?seconds=0").status == 200, "the service goes on"
        assert service.status()["leadership"]["leads"] is False
    if how != "is gone":
        server.answering.set()
        server.refuse.clear()
        eventually(lambda: len(pods.notes(word="begin")) == 2, "the work to go on", timeout=40)
        pods.ran_alone()
    for service in (first, second):
        service.signal()
        service.ended()
        assert not service.report["components"]["lease"] > 4


def test_the_lease_counts_from_before_the_request(pods: Contenders, server: LeaseServer) -> None:
    """The others hear of a renewal before its answer reaches the leader."""
    first, _ = pods.pair("tidy", TIDY=str(0.8 * (LEASE - RENEW)))
    server.late["first"] = 0.9 * RENEW / 2
    since = time.monotonic()
    eventually(lambda: server.verbs(since).count("update") >= 2, "a renewal with a late answer")
    server.unheard.add("first")
    first.logged("singleton cut off")
    pods.runs("second")
    assert pods.notes("first", "end")
    pods.ran_alone()


def test_an_interruption_shorter_than_the_lease_changes_nothing(
    pods: Contenders, server: LeaseServer
) -> None:
    first, _ = pods.pair()
    server.refuse["update"] = 503
    first.logged("lease not renewed; retrying")
    server.refuse.clear()
    since = time.monotonic()
    eventually(lambda: "update" in server.verbs(since), "the next renewal")
    time.sleep(LEASE)
    assert first.status()["leadership"]["leads"] is True
    assert len(pods.notes(word="begin")) == 1


@pytest.mark.parametrize("verb", ["get", "create"])
def test_without_a_permission_the_log_says_which_and_the_service_serves(
    pods: Contenders, server: LeaseServer, verb: str
) -> None:
    server.refuse[verb] = 403
    service = pods.pod("only").ready()
    line = service.logged("leader election failed; this pod runs no singletons")
    lease = "the Lease singletons in the namespace prod"
    assert line["missing"] == f"the service account may not {verb} {lease}"
    eventually(lambda: server.verbs().count(verb) >= 3, "more attempts")
    assert len(service.lines("leader election failed; this pod runs no singletons")) == 1
    assert service.status()["leadership"]["missing"] == line["missing"]
    assert service.get("/block?seconds=0").status == 200
    assert not pods.notes()
    server.refuse.clear()
    pods.runs("only")
    service.logged("leader election works again")
    service.signal()
    service.ended()


def test_attempts_become_rarer(pods: Contenders, server: LeaseServer) -> None:
    server.refuse["*"] = 403
    pods.pod("only").ready()
    eventually(lambda: server.verbs().count("get") >= 4, "attempts")
    times = [at for at, _, _ in server.asked]
    assert times[3] - times[2] > 2 * (times[1] - times[0])


def test_without_a_watch_it_is_asked_for(pods: Contenders, server: LeaseServer) -> None:
    server.refuse["watch"] = 403
    first, second = pods.pair(**LONG_LEASE)
    line = second.logged("lease cannot be watched; polling")
    assert "may not watch" in line["why"]
    first.signal()
    assert pods.runs("second") - first.signalled < 20
    pods.ran_alone()


def test_a_leader_that_lost_the_lease_ends_its_work_at_once(
    pods: Contenders, server: LeaseServer
) -> None:
    """As after somebody's `kubectl edit`: the API is right, whatever the clock says."""
    first, _ = pods.pair("tidy")

    def steal(lease: Json) -> None:
        lease["spec"] |= {"holderIdentity": "thief_1", "leaseTransitions": 7}

    server.edit(steal)
    edited = time.monotonic()
    line = first.logged("singleton cut off")
    assert "another pod" in line["reason"]
    assert time.monotonic() - edited < RETRY * 1.2 + 8
    eventually(lambda: server.holder in ("first", "second"), "the thief's lease to run out")
    assert server.leases.popitem()[1]["spec"]["leaseTransitions"] == 8


def test_an_edit_that_leaves_the_holder_alone_changes_nothing(
    pods: Contenders, server: LeaseServer
) -> None:
    first, _ = pods.pair()
    server.edit(lambda lease: lease["metadata"].update(labels={"team": "a"}))
    since = time.monotonic()
    eventually(lambda: server.verbs(since).count("update") > 3, "renewals")
    assert first.status()["leadership"]["leads"] is True
    assert len(pods.notes(word="begin")) == 1
    assert server.leases.popitem()[1]["metadata"]["labels"] == {"team": "a"}, "it is kept"


def test_a_lease_that_is_deleted_is_still_its_leaders(
    pods: Contenders, server: LeaseServer
) -> None:
    first, second = pods.pair()
    server.delete()
    eventually(lambda: server.leases, "the leader to write it anew")
    time.sleep(LEASE)
    assert first.status()["leadership"]["leads"] is True
    assert second.status()["leadership"]["leads"] is False
    pods.ran_alone()


def test_times_that_others_wrote_do_not_matter(pods: Contenders, server: LeaseServer) -> None:
    """A clock that is a day behind or ahead: only whether the Lease changes counts."""
    for day in ("01", "28"):
        server.leases.clear()
        stamp = f"2000-01-{day}T00:00:00.000000Z" if day == "01" else "2100-01-28T00:00:00.000000Z"
        server.create(
            "prod",
            {
                "metadata": {"name": "singletons"},
                "spec": {
                    "holderIdentity": "ghost_1",
                    "leaseDurationSeconds": 2,
                    "leaseTransitions": 3,
                    "acquireTime": stamp,
                    "renewTime": stamp,
                },
            },
        )
        name = f"pod-{day}"
        service = pods.pod(name).ready()
        saw = service.logged("leader changed", leader="ghost_1")
        assert saw
        began = pods.runs(name)
        heard = min(at for at, _, _ in server.asked)
        assert 2 <= began - heard < 2 + 15
        service.kill()
        server.asked.clear()


def test_as_in_a_pod_with_tls_and_a_token_that_changes(start: Start, tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is needed to make a certificate")
    make = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    make += ["-nodes", "-days", "1", "-subj", "/CN=kubernetes", "-addext"]
    make += ["subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "ca.crt"]
    subprocess.run(make, cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "ca.crt", tmp_path / "key.pem")
    with lease_server(context) as server:
        pods = Contenders(start, tmp_path, server)
        cluster = {
            "APP_KUBERNETES__API": "",
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(server.port),
        }
        service = pods.pod("only", **cluster).ready()
        line = service.logged("leader election failed; this pod runs no singletons")
        assert line["missing"].endswith(f"{tmp_path}/token is missing")
        (tmp_path / "token").write_text(TOKEN)
        pods.runs("only", timeout=60)
        service.signal()
        service.ended()


def test_whoami_says_who_leads(pods: Contenders, server: LeaseServer) -> None:
    service = pods.pod("first", "short")

    def said(pod: str) -> str:
        asked = [sys.executable, "-m", "app", "whoami"]
        known = {**service.environment, "POD_NAME": pod}
        done = subprocess.run(
            asked, cwd=PROJECT, env=known, capture_output=True, text=True, check=True
        )
        (line,) = [line for line in done.stdout.splitlines() if line.startswith("leader")]
        return line

    pods.runs("first")
    assert said("first").startswith("leader    this pod holds the Lease singletons, renewed")
    assert said("second").startswith("leader    first holds the Lease singletons, renewed")
    service.signal()
    service.ended()
    assert said("first") == "leader    nobody holds the Lease singletons"


def test_outside_kubernetes_nobody_leads(start: Start, tmp_path: Path) -> None:
    """The service as it is, with its own `main.py`."""
    service = start(POD_NAME="").ready()
    line = service.logged("leader election failed; this pod runs no singletons")
    assert "KUBERNETES_SERVICE_HOST is not set" in line["missing"]
    assert service.get("/hello").status == 200
    service.signal()
    assert service.ended() == 0
    assert service.report["cut"] == []
