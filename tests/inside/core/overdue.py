"""An application with deadlines, and what its responses and its ends say."""

import json
from typing import Any

from tests.harness import Service
from tests.wire import Response

APP = "tests.apps.deadlines"
SOON = {"APP_REQUESTS__TIMEOUT_SECONDS": "0.3"}
#: Longer than any deadline of these tests.
LONG = "seconds=30"


def problem(answer: Response) -> dict[str, Any]:
    """What a response says that is a problem."""
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = json.loads(answer.body)
    assert found["status"] == answer.status
    assert found["type"] == "about:blank"
    return found


def ends(service: Service) -> dict[str, int]:
    found: dict[str, int] = json.loads(service.get("/ends").body)
    return found
