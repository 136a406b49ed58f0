"""The leader election: the pod that holds the Lease leads, and runs the singletons."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from app.components.candidate import BACKOFF, RELEASE, Candidate
from app.components.lease_api import LeaseApi, ApiError, in_cluster, load_client
from app.lifecycle.leadership import Leadership
from app.settings import LeaderElection

if TYPE_CHECKING:
    from kubernetes.aio.client import Configuration

log = structlog.get_logger(__name__)

Configure = Callable[[], "Configuration"]


@contextlib.asynccontextmanager
async def campaign(
    leadership: Leadership, settings: LeaderElection, configure: Configure = in_cluster
) -> AsyncIterator[None]:
    """Try to lead from the service's start to its drain, and to go on leading.

    ``configure`` says where the API is. Nothing that goes wrong here ends the
    service: singletons do not run, and a line of the log says what is missing.
    """
    leadership.finish = settings.finish_seconds
    election = asyncio.create_task(_elect(leadership, settings, configure), name="leader election")
    try:
        yield
    finally:
        if leadership.over.is_set():
            await asyncio.wait({election}, timeout=RELEASE)
        election.cancel()
        await asyncio.wait({election})


async def _elect(leadership: Leadership, settings: LeaderElection, configure: Configure) -> None:
    await leadership.started.wait()
    await load_client()
    pause = settings.retry_seconds
    while not leadership.over.is_set():
        try:
            async with LeaseApi(configure(), settings.lease, settings.renew_seconds / 2) as api:
                await Candidate(leadership, settings, api).run()
        except ApiError as error:
            leadership.explain(str(error))
        except Exception as error:
            leadership.explain(f"this should not have happened: {error!r}")
            log.exception("the leader election failed")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await leadership.over.wait()
        pause = min(BACKOFF, 2 * pause)


async def leader_state(
    settings: LeaderElection, configure: Configure = in_cluster
) -> dict[str, object]:
    """Who leads, as the API has it: for `whoami`, in a process of its own."""
    state: dict[str, object] = {"lease": settings.lease}
    try:
        await load_client()
        async with LeaseApi(configure(), settings.lease, settings.renew_seconds / 2) as api:
            record = await api.read()
    except ApiError as error:
        return state | {"missing": str(error)}
    if record is None or not record.holder:
        return state | {"leader": "nobody"}
    pod = record.holder.rpartition("_")[0] or record.holder
    leads = pod == os.environ.get("POD_NAME")
    state |= {"leader": pod, "leads": leads, "term": record.transitions}
    if record.renewed is not None:
        age = datetime.now(UTC) - record.renewed
        state["renewed_seconds_ago"] = round(age.total_seconds(), 1)
    return state
