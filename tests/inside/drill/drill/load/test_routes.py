"""drill.toml: what it may say, and what is said about what it may not."""

import tomllib
from pathlib import Path

import pytest

from drill.errors import DrillError
from drill.load.ledger import Kind
from drill.load.routes import SHARES, Call, Routes

PROJECT = Path(__file__).resolve().parents[3]


def parse(text: str) -> Routes:
    return Routes.parse(tomllib.loads(text))


def test_the_file_of_the_project_says_what_holds_without_it() -> None:
    assert Routes.read(PROJECT / "drill.toml") == Routes()


def test_a_kind_without_a_route_is_not_sent() -> None:
    routes = parse('[plain]\npath = "/items"\nheaders = {Authorization = "Bearer x"}')
    assert routes.plain == Call("/items", headers={"Authorization": "Bearer x"})
    assert (routes.slow, routes.job, routes.events) == (None, None, None)
    assert set(routes.sent()) == {Kind.NEW, Kind.KEPT, Kind.CHECKED}


def test_a_kind_can_have_no_share() -> None:
    routes = parse('[plain]\npath = "/items"\n[shares]\nkept = 0\nchecked = 0')
    assert routes.sent() == {Kind.NEW: 10}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[plane]", r"unknown table \[plane\]; known are plain, slow, "),
        ("[plain]", "plain.path is None: it must begin with '/'"),
        ('[plain]\npath = "hello"', "plain.path is 'hello'"),
        (
            '[plain]\npath = "/a"\nverb = "GET"',
            r"\[plain\] has unknown 'verb'; known are path, method",
        ),
        ('[plain]\npath = "/a"\nbody = 1', "plain.body is 1: it must be str"),
        ('[upload]\npath = "/a"\noctets = "1"', "upload.octets is '1': it must be int"),
        ("[shares]\nnew = -1", "shares.new is -1: use 0 to 100 for one of new, kept"),
        ("[shares]\nsse = 1", "shares.sse is 1"),
        (
            "\n".join(["[shares]", *(f"{kind.name.lower()} = 0" for kind in SHARES)]),
            "all shares are 0",
        ),
    ],
)
def test_a_mistake_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(DrillError, match=sentence):
        parse(text)


def test_a_file_that_is_not_toml_is_named(tmp_path: Path) -> None:
    (tmp_path / "drill.toml").write_text("[plain")
    with pytest.raises(DrillError, match=r"drill\.toml cannot be read"):
        Routes.read(tmp_path / "drill.toml")
