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
    """Try to lead from the service's start to its drain, and to go on leading.

    Nothing that goes wrong here ends the service: singletons do not run, and a
    line of the log says what is missing.
    """
    leadership.finish = settings.leader_election.finish_seconds
    election = asyncio.create_task(_elect(leadership, settings), name="leader election")
    try:
        yield
    finally:
        if leadership.over.is_set() and not election.done():  # the lease is being handed back
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
            leadership.explain(f"this should not have happened: {error!r}")
            log.exception("the leader election failed")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await leadership.draining.wait()
        pause = min(BACKOFF, 2 * pause)


async def describe(settings: Settings, pod: str) -> str:
    """Who leads, in the words of the API, told to ``pod``; for ``whoami``."""
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
