"""What a log line contains: no secrets, errors as fields, and never more than 16 KiB."""

import json
import sys
from typing import Any

import pytest

from app.observability import lines
from tests.conftest import Start
from tests.harness import eventually

SECRET = "hunter2-Hunter2"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl"
KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY-----"


def logged(**event: Any) -> Any:
    """The line as an object; it must be one line."""
    text = lines.line(lines.redact(None, "info", event))
    assert "\n" not in text
    assert len(text) < 16 * 1024
    return json.loads(text)


KEYS = [
    *("password", "Authorization", "set-cookie", "API_KEY", "x-api-key", "db_passwd"),
    *("client_secret", "access_token", "credentials", "privateKey", "passphrase"),
]


@pytest.mark.parametrize("key", KEYS)
def test_secrets_by_name(key: str) -> None:
    assert SECRET not in str(logged(**{key: SECRET}))
    assert SECRET not in str(logged(headers={"a": [{key: (SECRET,)}]}))
    assert logged(**{key: None})[key] is None


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {SECRET}",
        f"proxy-authorization: basic {SECRET}==",
        f"cannot connect to postgresql://app:{SECRET}@db/app?x=1",
        f"redis://:{SECRET}@cache",
        f"GET /login?password={SECRET}&next=/",
        f"token={SECRET}",
        f"sent {JWT.replace('eyJzdWIi', SECRET)} on",
        KEY.replace("MIIE", SECRET),
        f"-----BEGIN PRIVATE KEY-----\n{SECRET}",
    ],
)
def test_secrets_by_form(text: str) -> None:
    for event in ({"event": text}, {"a": {"b": [text]}}, {"a": ValueError(text)}):
        assert SECRET not in str(logged(**event))
    assert lines.REDACTED in logged(event=text)["event"]


@pytest.mark.parametrize(
    "text",
    ["basic authentication failed", "the bearer documents", "http://host/a:b@c", "2 tokens = 5"],
)
def test_plain_words_stay(text: str) -> None:
    assert logged(event=text)["event"] == text


def test_other_values_stay_as_they_are() -> None:
    event = {"tokens": 7, "ok": True, "items": [1, {"b": None}], "path": "/a", "n": 1.5}
    assert logged(**event) == event


@pytest.mark.parametrize("value", ["x" * 100_000, "ä\U0001f600" * 20_000, '"\\\n' * 20_000])
def test_a_long_value_is_cut_with_a_mark(value: str) -> None:
    line = logged(event="long", value=value, level="info", request_id="mine")
    assert (line["event"], line["request_id"], line["cut"]) == ("long", "mine", True)
    start, end = value[:100], value[-100:]
    assert line["value"].startswith(start)
    assert line["value"].endswith(end)
    assert "characters cut" in line["value"]
    assert len(json.dumps(line)) > 12_000, "no more is cut than needed"


def test_a_long_list_and_many_fields_are_cut() -> None:
    line = logged(event="long", values=list(range(10_000)), other={"a": "b" * 20_000})
    assert line["values"][:3] == [0, 1, 2]
    assert line["values"][-1].endswith(" more")
    many = logged(event="many", level="info", **{f"field_{n}": "x" * 20 for n in range(2000)})
    assert many == {"event": "many", "level": "info", "cut": True}


def test_a_cut_leaves_no_half_of_a_secret() -> None:
    text = f"token={SECRET * 1000}"
    assert "hunter2" not in str(logged(event="x" * 8000 + text + "y" * 30_000))


def test_an_error_becomes_fields() -> None:
    try:
        raise LookupError("no such\nthing")
    except LookupError:
        event = lines.add_error(None, "error", {"event": "failed", "exc_info": True})
    assert event["exception_type"] == "LookupError"
    assert event["exception_message"] == "no such\nthing"
    assert event["exception"].startswith("Traceback (most recent call last):")
    assert event["exception"].endswith("LookupError: no such\nthing")
    own = lines.add_error(None, "error", {"exc_info": json.JSONDecodeError("bad", "x", 0)})
    assert own["exception_type"] == "json.decoder.JSONDecodeError"
    outside = lines.redact(None, "error", {"exc_info": (LookupError, LookupError("late"), None)})
    assert lines.add_error(None, "error", outside)["exception"] == "LookupError: late"
    assert "exc_info" not in lines.add_error(None, "error", {"exc_info": sys.exc_info()})


def test_secrets_stay_out_of_a_services_log(serve: Start) -> None:
    service = serve("tests.apps.work")
    service.get("/check/gate/ill")
    eventually(lambda: "PermissionError" in service.stdout, "the failure of the check")
    assert "hunter2" not in service.stdout


def test_the_request_id_is_returned_and_passed_on(serve: Start) -> None:
    service = serve("tests.apps.deadlines")
    answer = service.get("/call", x_request_id="mine", x_request_timeout="20")
    assert answer.headers["x-request-id"] == "mine"
    for path in ("/call", "/told"):
        assert service.logged("request", path=path)["request_id"] == "mine"
    made = service.get("/nowhere")
    assert made.headers["x-request-id"] == service.logged("request", path="/nowhere")["request_id"]


def test_a_share_of_the_access_lines(serve: Start) -> None:
    service = serve(APP_LOG__ACCESS_SHARE="0.5")
    with service.connect() as connection:
        for _ in range(100):
            connection.get("/hello")
            connection.get("/nowhere")
    service.signal()
    assert service.ended() == 0
    assert len(service.lines("request", status=404)) == 100
    assert 10 < len(service.lines("request", status=200, share=0.5)) < 90
    assert len(service.lines("request", status=200)) == len(service.lines("request", share=0.5))


def test_a_long_path_is_cut(serve: Start) -> None:
    service = serve()
    service.get("/" + "%F0%9F%98%80" * 4000)
    service.logged("request", status=404)
    assert max(map(len, service.stdout.splitlines())) < 16 * 1024
