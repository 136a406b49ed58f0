"""Spans of statements: who has asked what of which table, and nothing that could be secret."""

import asyncio
import importlib
import importlib.util
from typing import Any

import pytest
from sqlalchemy import text

from tests.database.pools import number, opened, outcomes, run

pytestmark = pytest.mark.skipif(
    not importlib.util.find_spec("app.database.spans"), reason="the project has no traces"
)


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What keeps the spans of statements, and its ``tracer``."""
    sdk = importlib.import_module("opentelemetry.sdk.trace")
    export = importlib.import_module("opentelemetry.sdk.trace.export")
    memory = importlib.import_module(f"{export.__name__}.in_memory_span_exporter")
    kept, provider = memory.InMemorySpanExporter(), sdk.TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(export.SimpleSpanProcessor(kept))
    kept.tracer = provider.get_tracer("test")
    monkeypatch.setattr(importlib.import_module("app.database.spans"), "_tracer", kept.tracer)
    return kept


def test_a_statement_of_a_recorded_request_is_a_child_span(database: str, spans: Any) -> None:
    async def story() -> None:
        async with opened(database) as pool:
            await run(pool, "CREATE TABLE t (n int, note text)")
            with spans.tracer.start_as_current_span("request"):
                async with pool.sessions() as session, session.begin():
                    await session.execute(
                        text("INSERT INTO t VALUES (:n, :note)"), {"n": 1, "note": "hunter2"}
                    )
                    await session.execute(text("SELECT note FROM t WHERE n = 7 AND note <> 'x'"))
                await outcomes(number(pool, "SELECT 1 / 0"))

    asyncio.run(story())
    insert, select, fails, request = spans.get_finished_spans()
    assert [one.name for one in (insert, select, fails)] == ["INSERT t", "SELECT t", "SELECT"]
    for one in (insert, select, fails):
        assert one.parent.span_id == request.context.span_id
        assert one.kind.name == "CLIENT"
        assert one.attributes["db.system.name"] == "postgresql"
        assert one.attributes["db.namespace"] == database.rpartition("/")[2]
        assert "hunter2" not in one.to_json()
        assert "note" not in one.to_json()
    assert select.attributes["db.collection.name"] == "t"
    assert select.attributes["db.query.summary"] == "SELECT t"
    assert fails.attributes["db.response.status_code"] == "22012"
    assert not fails.status.is_ok
    assert insert.status.is_unset


def test_what_is_not_recorded_has_no_spans(database: str, spans: Any) -> None:
    async def story() -> None:
        async with opened(database) as pool:
            await number(pool)

    asyncio.run(story())
    assert spans.get_finished_spans() == []


def test_a_cancelled_statement_ends_its_span(database: str, spans: Any) -> None:
    async def story() -> None:
        async with opened(database) as pool:
            with spans.tracer.start_as_current_span("request"):
                task = asyncio.create_task(number(pool, "SELECT pg_sleep(30)"))
                await asyncio.sleep(0.5)
                task.cancel()
                await asyncio.wait({task})

    asyncio.run(story())
    assert "SELECT" in {one.name for one in spans.get_finished_spans()}
