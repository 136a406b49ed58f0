"""A promised mail: accepted with 202, and sent by the relay of a real service."""

import json

from tests.conftest import Start
from tests.harness import eventually


def test_a_mail_is_accepted_and_sent(serve: Start, database: str) -> None:
    service = serve()
    with service.connect() as connection:
        body = json.dumps({"to": "ada@example.com", "subject": "hello"}).encode()
        connection.ask("/mails", "POST", body, **{"content-type": "application/json"})
        answer = connection.response()
    assert answer.status == 202
    path = answer.headers["location"]
    eventually(lambda: json.loads(service.get(path).body)["state"] == "done", "the mail to be sent")
    assert service.lines("mail sent", subject="hello")
    assert service.get("/mails/9000000").status == 404
