"""The leader election: the pod that holds the Lease leads, and runs the singletons."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import structlog

from app.components.candidate import BACKOFF, RELEASE, Candidate
from app.components.lease_api import ApiError, LeaseApi, load_client, now
from app.lifecycle.kubernetes.leadership import Leadership
from app.settings import Settings

log = structlog.get_logger(__name__)


@contextlib.asynccontextmanager
async def campaign(leadership: Leadership, settings: Settings) -> AsyncIterator[None]:
    """Campaign from the service's start to its drain.

    An error never ends the service: singletons do not run, and the log says why.
    """
    leadership.finish = settings.leader_election.finish_seconds
    election = asyncio.create_task(_elect(leadership, settings), name="leader election")
    try:
        yield
    finally:
        if leadership.over.is_set() and not election.done():  # the lease is being released
            await asyncio.wait({election}, timeout=RELEASE)
        election.cancel()


async def _elect(leadership: Leadership, settings: Settings) -> None:
    await leadership.started.wait()
    loading = asyncio.create_task(load_client())
    draining = asyncio.create_task(leadership.draining.wait())
    await asyncio.wait({loading, draining}, return_when=asyncio.FIRST_COMPLETED)
    draining.cancel()
    loading.cancel()
    pause = settings.leader_election.retry_seconds
    while not leadership.draining.is_set():
        try:
            async with LeaseApi(settings.leader_election, settings.kubernetes) as api:
                await Candidate(leadership, settings.leader_election, api).run()
        except ApiError as error:
            leadership.explain(str(error))
        except Exception as error:
            leadership.explain(f"unexpected error: {error!r}")
            log.exception("leader election raised")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await leadership.draining.wait()
        pause = min(BACKOFF, 2 * pause)


async def describe(settings: Settings, pod: str) -> str:
    """Who leads, from the point of view of ``pod``; for ``whoami``."""
    try:
        async with LeaseApi(settings.leader_election, settings.kubernetes) as api:
            record = await api.read()
    except ApiError as error:
        return f"unknown: {error}"
    if record is None or not record.holder:
        return f"nobody holds the Lease {settings.leader_election.lease}"
    holder = record.holder.rpartition("_")[0] or record.holder
    age = 0.0 if record.renewed is None else (now() - record.renewed).total_seconds()
    return (
        f"{'this pod' if holder == pod else holder} holds the Lease "
        f"{settings.leader_election.lease}, renewed {age:.1f} s ago; changes: {record.transitions}"
    )
