"""Cancels at any moment, and a server that answers nothing: no connection is lost."""

import asyncio
import os
import random
import signal
import time
from typing import Any

from dev import postgres
from tests.database.pools import eventually, number, opened, run, sessions


def test_no_connection_is_lost_by_random_cancels(database: str) -> None:
    async def work(pool: Any) -> None:
        async with pool.sessions() as session, session.begin():
            connection = await session.connection()
            await connection.exec_driver_sql("INSERT INTO t VALUES (1)")
            await connection.exec_driver_sql("SELECT pg_sleep(0.005)")

    async def story() -> None:
        async with opened(database, pool_size=2, checkout_seconds=30) as pool:
            await run(pool, "CREATE TABLE t (n int)")
            dice = random.Random(7)
            for _ in range(60):
                tasks = [asyncio.create_task(work(pool)) for _ in range(5)]
                for task in tasks:
                    await asyncio.sleep(dice.uniform(0, 0.006))
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            assert not pool.loans.open
            assert pool.queue.checkedout() == 0
            async with asyncio.timeout(10):
                both = [await pool.engine.connect() for _ in range(2)]
                for one in both:
                    await one.close()
            await eventually(lambda: sessions(database) <= 2, "no sessions beside the pool's")
            assert pool.loans.dirty == 0
            open_ones = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%'"
            assert await number(pool, open_ones) == 0

    asyncio.run(story())


def test_a_frozen_server_lets_a_cancelled_request_go() -> None:
    with postgres.server("max_connections=20") as url:

        async def story() -> None:
            async with opened(url, pool_size=2) as pool:
                pid = await number(pool, "SELECT pg_backend_pid()")
                task = asyncio.create_task(number(pool, "SELECT pg_sleep(60)"))
                await eventually(lambda: pool.loans.open, "the statement to run")
                await asyncio.sleep(0.2)
                os.kill(pid, signal.SIGSTOP)
                try:
                    began = time.monotonic()
                    task.cancel()
                    await asyncio.wait({task}, timeout=20)
                    took = time.monotonic() - began
                    assert task.cancelled()
                    assert took < 8, "2 s of asyncpg, on a busy machine"
                    print(f"cancelled after {took:.2f} s")
                    assert await number(pool) == 1
                finally:
                    os.kill(pid, signal.SIGCONT)

        asyncio.run(story())
