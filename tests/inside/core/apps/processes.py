"""Handlers and a component that start processes, in every way that Python knows."""

import asyncio
import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor

import structlog
from fastapi import FastAPI, Request

from app.lifecycle.components import Component
from app.lifecycle.signals import ignore_sigint
from tests.apps.runner import run

log = structlog.get_logger(__name__)
app = FastAPI()
started: list[object] = []


def work(deaf: bool) -> None:
    if deaf:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(3600)


@contextlib.asynccontextmanager
async def process_pool() -> AsyncIterator[ProcessPoolExecutor]:
    context = multiprocessing.get_context(os.environ.get("METHOD", "fork"))
    pool = ProcessPoolExecutor(2, context, initializer=ignore_sigint)
    try:
        yield pool
    finally:
        await asyncio.to_thread(pool.shutdown, cancel_futures=True)


@app.get("/start")
async def start(method: str, deaf: bool = False) -> int:
    if method == "shell":
        shell = await asyncio.create_subprocess_exec("sh", "-c", "sleep 3600 & sleep 3600")
        started.append(shell)
        return shell.pid
    process = multiprocessing.get_context(method).Process(target=work, args=(deaf,), name="worker")  # type: ignore[attr-defined]
    process.start()
    started.append(process)
    return int(process.pid)


@app.get("/orphan")
async def orphan() -> int:
    """A process that outlives its parent by a moment; its number."""
    shell = await asyncio.create_subprocess_exec(
        "sh", "-c", "sleep 0.2 > /dev/null & echo $!", stdout=asyncio.subprocess.PIPE
    )
    out, _ = await shell.communicate()
    return int(out)


@app.get("/terminate")
async def terminate(method: str) -> int:
    """Start a process and end it at once, when it may not even run yet; its exit code."""
    process = multiprocessing.get_context(method).Process(target=work, args=(False,))  # type: ignore[attr-defined]
    process.start()
    process.terminate()
    await asyncio.to_thread(process.join, 20)
    return int(process.exitcode)


@app.get("/sum")
async def total(request: Request, upto: int) -> int:
    pool = request.app.state.service.components["processes"]
    return await asyncio.get_running_loop().run_in_executor(pool, sum, range(upto))


@app.get("/slow")
async def slow(request: Request) -> str:
    pool = request.app.state.service.components["processes"]
    await asyncio.get_running_loop().run_in_executor(pool, time.sleep, 1.5)
    return "done"


if __name__ == "__main__":
    sys.exit(run(app, [Component("processes", process_pool)]))
