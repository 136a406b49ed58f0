"""An entry follows the readiness of its pod, whatever happens to the registry."""

import json
import os
import subprocess
import sys
import time
from importlib.metadata import version

import pytest

from tests.harness import HOST, PROJECT, Service, eventually
from tests.registry.conftest import Pod
from tests.registry.fake import CREDENTIALS, STRATEGIES, Fake


def listed(registry: Fake, service: Service) -> bool:
    return (HOST, service.port) in registry.readers()


def until_listed(registry: Fake, service: Service) -> None:
    eventually(lambda: listed(registry, service), "the pod to be listed")


def until_unlisted(registry: Fake, service: Service) -> None:
    eventually(lambda: not listed(registry, service), "the pod to be taken out")


# -- the entry ------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_ready_pod_is_listed_with_all_that_clients_need(
    registry: Fake, pod: Pod, strategy: str
) -> None:
    service = pod(APP_REGISTRY__STRATEGY=strategy).ready()
    until_listed(registry, service)
    facts = registry.facts()
    meta = facts.pop("meta")
    assert facts == {
        "service": "web",
        "id": "web-1",
        "address": HOST,
        "port": service.port,
        "tags": ["v1", "public"],
    }
    name = next(n for n in service.status()["versions"] if n not in ("python", "fastapi"))
    wanted = {"pod": "web-1", "namespace": "prod", "zone": "eu-1a", "version": version(name)}
    assert {key: meta[key] for key in wanted} == wanted
    assert meta["health"] == f"http://{HOST}:{service.port}/readyz"
    line = service.logged("registered")
    assert (line["entry"], line["why"]) == ("web-1", "ready")


def test_a_pod_is_not_listed_before_it_is_ready(registry: Fake, pod: Pod) -> None:
    service = pod(FAILING="1")
    eventually(lambda: service.lines("check failed"), "the check to fail")
    assert service.probe("readyz").status == 503
    assert registry.acts("register") == []
    service.get("/check/pass")
    until_listed(registry, service)


def test_status_metrics_and_whoami_show_the_entry(registry: Fake, pod: Pod) -> None:
    service = pod().ready()
    until_listed(registry, service)
    eventually(lambda: service.status()["registration"]["listed"], "the pod to know it")
    found = service.status()["registration"]
    assert (found["registry"], found["entry"], found["missing"]) == (registry.url, "web-1", "")
    assert "Service registry" in service.probe("statusz", accept="text/html").body.decode()
    metrics = service.probe("metrics").body.decode()
    assert "\napp_registry_listed 1\n" in metrics
    assert "\napp_registry_failures_total 0\n" in metrics
    who = subprocess.run(
        [sys.executable, "-m", "app", "whoami"],
        env=service.environment,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "web-1: listed" in who.stdout


def test_without_a_url_nothing_is_loaded_or_asked(pod: Pod) -> None:
    service = pod(APP_REGISTRY__URL="").ready()
    assert "APP_REGISTRY__URL is empty" in service.status()["registration"]["state"]
    assert "app_registry" not in service.probe("metrics").body.decode()
    code = "import sys, app.main; print([n for n in sys.modules if n in ('httpx2', 'ssl')])"
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert "httpx2" not in loaded.stdout


def test_a_pod_without_an_address_does_not_start(pod: Pod) -> None:
    service = pod(APP_REGISTRY__ADDRESS="")
    assert service.ended() == 3
    assert "set APP_REGISTRY__ADDRESS" in service.stderr


def test_the_address_is_that_of_the_pod(registry: Fake, pod: Pod) -> None:
    pod(APP_REGISTRY__ADDRESS="", POD_IPS="fd00::7,10.0.0.7").ready()
    eventually(lambda: registry.acts("register"), "a registration")
    facts = eventually(registry.facts, "the entry")
    assert facts["address"] == "fd00::7"
    assert facts["meta"]["health"].startswith("http://[fd00::7]:")


# -- readiness ------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_pod_that_is_not_ready_is_taken_out_and_put_in_again(
    registry: Fake, pod: Pod, strategy: str
) -> None:
    service = pod(APP_REGISTRY__STRATEGY=strategy).ready()
    until_listed(registry, service)
    service.get("/check/fail")
    until_unlisted(registry, service)
    eventually(lambda: not service.status()["registration"]["listed"], "the pod to know it")
    if strategy != "probe":
        why = service.logged("taken out of the registry")["why"]
        assert why == "check gate: ConnectionError", "the type, not the text, which may be secret"
    service.get("/check/pass")
    until_listed(registry, service)


def test_events_are_all_that_is_sent_with_that_strategy(registry: Fake, pod: Pod) -> None:
    service = pod(APP_REGISTRY__STRATEGY="event").ready()
    until_listed(registry, service)
    eventually(lambda: len(registry.acts("read")) >= 3, "the entry to be read back")
    assert len(registry.acts("register")) == 1
    assert registry.acts("beat") == []


def test_heartbeats_keep_an_entry_for_longer_than_its_life(registry: Fake, pod: Pod) -> None:
    service = pod().ready()
    until_listed(registry, service)
    since = time.monotonic()
    while time.monotonic() < since + 2.5:
        assert listed(registry, service)
        time.sleep(0.05)
    assert len(registry.acts("register")) == 1
    assert len(registry.acts("beat", since)) >= 5


def test_a_killed_pod_is_dropped(registry: Fake, pod: Pod) -> None:
    service = pod().ready()
    until_listed(registry, service)
    service.kill()
    until_unlisted(registry, service)


# -- a registry that fails ------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_entry_that_is_lost_is_registered_again(registry: Fake, pod: Pod, strategy: str) -> None:
    service = pod(APP_REGISTRY__STRATEGY=strategy).ready()
    service.logged("registered")
    registry.forget()
    until_listed(registry, service)
    service.logged("registry lost the entry; registering again")


def test_a_heartbeat_notices_that_the_entry_is_lost(registry: Fake, pod: Pod) -> None:
    service = pod(APP_REGISTRY__READ_BACK_SECONDS="600").ready()
    until_listed(registry, service)
    eventually(lambda: registry.acts("read"), "the only reading")
    registry.forget()
    until_listed(registry, service)
    assert len(registry.acts("read")) <= 2, "one more after it was registered again"


def test_a_registry_that_restarts_without_its_data(registry: Fake, pod: Pod) -> None:
    service = pod().ready()
    until_listed(registry, service)
    registry.down()
    service.logged("registry failed; retrying")
    assert service.get("/hello").status == 200
    registry.up()
    registry.forget()
    until_listed(registry, service)
    service.logged("registry works again")


def test_a_registry_that_is_down_at_the_start(registry: Fake, pod: Pod) -> None:
    registry.down()
    service = pod().ready()
    why = service.logged("registry failed; retrying")["why"]
    assert "cannot be reached" in why
    eventually(lambda: service.status()["registration"]["failures"] >= 3, "three attempts")
    assert len(service.lines("registry failed; retrying")) == 1, "the same reason is logged once"
    assert service.get("/hello").status == 200
    registry.up()
    until_listed(registry, service)


@pytest.mark.parametrize("fault", [500, 404, "garbage", "drop", "hang", 1.5])
def test_a_registry_that_fails_does_not_disturb_the_service(
    registry: Fake, pod: Pod, fault: int | float | str
) -> None:
    registry.faults["any"] = fault
    service = pod().ready()
    eventually(lambda: service.status()["registration"]["failures"] >= 2, "two attempts")
    assert service.get("/hello").status == 200
    del registry.faults["any"]
    until_listed(registry, service)
    service.drain()
    assert service.ended() == 0


def test_credentials_that_are_refused_and_accepted_later(registry: Fake, pod: Pod) -> None:
    registry.demand(credentials=False)
    service = pod(**CREDENTIALS).ready()
    service.logged("registry failed; retrying")
    assert registry.readers() == set()
    registry.demand(credentials=True)
    until_listed(registry, service)
    service.drain()
    assert service.ended() == 0
    assert CREDENTIALS.popitem()[1] not in service.stdout
    assert registry.readers() == set()


def test_settings_that_cannot_work_are_refused() -> None:
    wrong = {
        "APP_REGISTRY__TTL_SECONDS=12 is not above 2.4 times": {"APP_REGISTRY__TTL_SECONDS": "12"},
        "APP_SHUTDOWN__LIMIT_SECONDS=10 is below the 18 s": {"APP_SHUTDOWN__LIMIT_SECONDS": "10"},
        "should be like http": {"APP_REGISTRY__URL": "registry:8500"},
        "is not a file: mount the CA there": {"APP_REGISTRY__CA_FILE": "/nowhere"},
    }
    for sentence, given in wrong.items():
        environment = {**os.environ, "APP_REGISTRY__URL": "http://registry:8500", **given}
        done = subprocess.run(
            [sys.executable, "-m", "app", "serve"],
            env=environment,
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert sentence in done.stderr, json.dumps([sentence, done.stderr])
