"""One JSON object a line, a line for each request, and the metrics of it all."""

from tests.conftest import Start

APPLICATION = "tests.application"


def test_a_request_has_an_access_line_with_its_id_and_a_probe_has_none(serve: Start) -> None:
    service = serve(APPLICATION)
    service.get("/hello?secret=1", x_request_id="trace/42", user_agent="test")
    service.get("/nowhere")
    service.get("/readyz")
    service.signal()
    assert service.ended() == 0
    first, second = service.lines("request")
    assert (first["method"], first["path"], first["status"]) == ("GET", "/hello", 200)
    assert (first["request_id"], first["user_agent"]) == ("trace/42", "test")
    assert second["status"] == 404
    assert second["request_id"] != first["request_id"]


def test_an_error_is_logged_with_its_request_and_not_shown_to_the_client(serve: Start) -> None:
    service = serve(APPLICATION)
    answer = service.get("/fail", x_request_id="mine")
    assert answer.status == 500
    assert b"secret" not in answer.body
    service.signal()
    assert service.ended() == 0
    (line,) = [line for line in service.lines() if "LookupError" in line.get("exception", "")]
    assert (line["level"], line["request_id"]) == ("error", "mine")
    assert service.stderr == ""


def test_console_lines_are_for_people(serve: Start) -> None:
    service = serve(APPLICATION, APP_LOG__FORMAT="console")
    service.get("/hello")
    service.signal()
    assert service.ended() == 0
    *lines, report = service.stdout.splitlines()
    assert any("200 GET /hello" in line for line in lines)
    assert report.startswith("{"), "the report is an object in any case"


def test_the_metrics_are_on_the_management_port_alone(serve: Start) -> None:
    service = serve(APPLICATION)
    service.connect().ask("/slow?seconds=30")
    service.busy(1)
    lines = service.probe("metrics").body.decode().splitlines()
    assert "app_ready 1" in lines
    assert "app_requests_in_flight 1" in lines
    assert 'app_check_well{check="gate",gating="true"} 1' in lines
    assert service.get("/metrics").status == 404
