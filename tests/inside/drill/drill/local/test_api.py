"""The EndpointSlice API: list, watch, and each way of failing."""

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from drill.load.client import Connection
from drill.load.ledger import Lost
from drill.local.api import SliceApi
from drill.local.endpoints import Service
from drill.plan import ApiFault
from drill.record import Endpoint
from tests.drill.support import in_loop

PATH = "/apis/discovery.k8s.io/v1/namespaces/prod/endpointslices"
SELECTED = "?labelSelector=kubernetes.io%2Fservice-name+in+%28web%29"
WATCH = "&watch=true&allowWatchBookmarks=true"
SERVICES = (Service("web", "prod"), Service("other", "prod"))
READY = Endpoint("a", "127.0.0.9", 80, serving=True)
LEAVING = Endpoint("a", "127.0.0.9", 80, serving=True, terminating=True)


async def connect(api: SliceApi) -> Connection:
    host, port = api.url.removeprefix("http://").split(":")
    return await Connection.open(host, int(port), patience=5)


async def get(api: SliceApi, query: str = SELECTED) -> tuple[int, Any]:
    connection = await connect(api)
    try:
        answer = await connection.request("GET", PATH + query)
    finally:
        connection.close()
    return answer.head.status, answer.json()


async def watch(api: SliceApi, query: str) -> AsyncGenerator[Any, None]:
    connection = await connect(api)
    head = await connection.start("GET", PATH + SELECTED + WATCH + query)
    assert head.status == 200
    try:
        async for part in connection.parts(head):
            yield json.loads(part)
    finally:
        connection.close()


def conditions(one: Any) -> Any:
    return one["endpoints"][0]["conditions"]


def test_a_list_has_the_slice_of_the_service_and_a_version() -> None:
    async def check() -> None:
        async with SliceApi(SERVICES) as api:
            api.publish("a", READY, "node-1")
            status, found = await get(api)
            assert status == 200
            (one,) = found["items"]
            assert one["metadata"]["labels"] == {"kubernetes.io/service-name": "web"}
            assert one["endpoints"] == [
                {
                    "addresses": ["127.0.0.9"],
                    "conditions": {"ready": True, "serving": True, "terminating": False},
                    "nodeName": "node-1",
                    "targetRef": {"kind": "Pod", "name": "a"},
                }
            ]
            assert int(found["metadata"]["resourceVersion"]) > 1
            assert len((await get(api, ""))[1]["items"]) == 2

    in_loop(check())


def test_a_watch_goes_on_from_the_version_of_a_list() -> None:
    async def check() -> None:
        async with SliceApi(SERVICES) as api:
            api.publish("a", READY)
            version = (await get(api))[1]["metadata"]["resourceVersion"]
            events = watch(api, f"&resourceVersion={version}")
            first = await anext(events)
            assert first["type"] == "BOOKMARK"
            assert first["object"]["metadata"]["resourceVersion"] == version
            api.publish("a", LEAVING)
            event = await anext(events)
            while event["type"] == "BOOKMARK":
                event = await anext(events)
            assert event["type"] == "MODIFIED"
            assert conditions(event["object"]) == {
                "ready": False,
                "serving": True,
                "terminating": True,
            }
            await events.aclose()

    in_loop(check())


def test_what_changed_between_list_and_watch_is_not_missed() -> None:
    async def check() -> None:
        async with SliceApi(SERVICES) as api:
            version = (await get(api))[1]["metadata"]["resourceVersion"]
            api.publish("a", READY)
            api.publish("a", None)
            event = await anext(watch(api, f"&resourceVersion={version}"))
            assert event["type"] == "MODIFIED"
            assert event["object"]["endpoints"] == []

    in_loop(check())


def test_a_watch_ends_when_it_was_asked_to() -> None:
    async def check() -> None:
        async with SliceApi(SERVICES) as api:
            events = [event async for event in watch(api, "&resourceVersion=1&timeoutSeconds=1")]
            assert {event["type"] for event in events} == {"BOOKMARK"}

    in_loop(check())


def test_without_permission_it_says_so() -> None:
    async def check() -> None:
        async with SliceApi(SERVICES, fault=ApiFault.FORBIDDEN) as api:
            status, refusal = await get(api)
            assert (status, refusal["kind"], refusal["reason"]) == (403, "Status", "Forbidden")

    in_loop(check())


def test_a_forgotten_version_is_gone() -> None:
    async def check() -> None:
        async with SliceApi(SERVICES, fault=ApiFault.FORGETS) as api:
            (event,) = [event async for event in watch(api, "&resourceVersion=1")]
            assert (event["type"], event["object"]["code"]) == ("ERROR", 410)

    in_loop(check())


def test_it_can_be_down() -> None:
    async def check() -> None:
        async with SliceApi(SERVICES, fault=ApiFault.DOWN) as api:
            with pytest.raises(Lost, match="refused"):
                await get(api)

    in_loop(check())


def test_it_can_die_in_the_middle_of_a_watch() -> None:
    async def check() -> None:
        async with SliceApi(SERVICES, fault=ApiFault.DIES) as api:
            assert (await get(api))[0] == 200
            with pytest.raises(Lost, match="cut off"):
                await anext(watch(api, "&resourceVersion=1"))
            with pytest.raises(Lost, match="refused"):
                await get(api)

    in_loop(check())


def test_it_can_hang() -> None:
    async def check() -> None:
        async with SliceApi(SERVICES, fault=ApiFault.HANGS) as api:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await get(api)

    in_loop(check())


def test_it_can_lie() -> None:
    async def check() -> None:
        async with SliceApi(SERVICES, fault=ApiFault.LIES) as api:
            api.publish("a", LEAVING)
            (one,) = (await get(api))[1]["items"]
            assert conditions(one)["ready"]

    in_loop(check())
