"""Registers this pod in the service registry, from READY until the drain begins."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable
from typing import Protocol

import structlog

#% if cookiecutter.service_registry == "consul"
from app.components.consul import Consul as Client
#% endif
#% if cookiecutter.service_registry == "nacos"
from app.components.nacos import Nacos as Client
#% endif
#% if cookiecutter.service_registry == "etcd"
from app.components.etcd import Etcd as Client
#% endif
from app.components.registry import Entry, Registry, RegistryError, UnknownEntryError
from app.lifecycle.checks import Checks
from app.lifecycle.kubernetes.identity import Identity
from app.lifecycle.management.probes import Probes
from app.lifecycle.phase import Lifecycle, Phase
from app.lifecycle.registration import Registration
from app.lifecycle.registry_settings import Registry as RegistrySettings
from app.lifecycle.settings import listed
from app.observability.lines import redacted
from app.settings import Settings

log = structlog.get_logger(__name__)

#: Share of a pause that is added at random, so that pods do not call at the same time.
JITTER = 0.2
#: Seconds between two looks at the readiness until the pod is registered for the first time.
FIRST_LOOK = 0.1
#: First and longest pause between two attempts to deregister, in seconds.
FIRST_DELAY, LONGEST_DELAY = 0.1, 1.0
#: Seconds that a stop in a hurry leaves to an attempt to deregister.
LAST_MOMENT = 0.5


class Service(Protocol):
    """The service."""

    version: str
    lifecycle: Lifecycle
    probes: Probes
    checks: Checks
    registration: Registration


@contextlib.asynccontextmanager
async def registered(service: Service, settings: Settings) -> AsyncIterator[None]:
    """Keep the pod registered while it is ready; errors are logged and never end the service.

    Raises RegistryError if the pod's address is not known.
    """
    given = settings.registry
    if not given.url:
        yield
        return
    entry = entry_of(settings, service.version)
    client = Client(given)
    state = service.registration
    state.url, state.strategy, state.entry = redacted(given.url), given.strategy, entry.id
    state.readers, state.budget = given.readers_seconds, given.deregister_seconds
    if given.strategy == "heartbeat":
        state.ttl = float(given.ttl_seconds)
#% if cookiecutter.service_registry == "consul"
    if given.strategy == "probe":  # the registry's own probes fail from the start of the drain
        noticed = given.failures * given.interval_seconds + given.timeout_seconds
        state.budget = max(state.budget, noticed)
#% endif
    registrar = Registrar(client, entry, given, service)
    async with client.http:
        life = asyncio.create_task(registrar.live(), name="registrar")
        try:
            yield
        finally:
            if service.lifecycle.draining and not life.done():
                await asyncio.wait({life}, timeout=LAST_MOMENT)
            life.cancel()
            await asyncio.wait({life})


def entry_of(settings: Settings, version: str) -> Entry:
    """The entry of this pod. Raises RegistryError if its address is not known."""
    identity = Identity.from_environment()
    address = settings.registry.address or next(iter(identity.addresses), "")
    if not address:
        raise RegistryError("the address of this pod is not known: set APP_REGISTRY__ADDRESS")
    service, port = settings.registry.service, settings.port
    host = f"[{address}]" if ":" in address else address
    return Entry(
        service=service,
        id=identity.pod or f"{service}-{address.replace(':', '-')}-{port}",
        address=address,
        port=port,
        health=f"http://{host}:{port}/readyz",
        tags=tuple(listed(settings.registry.tags)),
        meta={**identity.fields(), "version": version},
    )


class Thresholds:
    """Whether the pod should be listed: it changes after several rounds alike, except at first."""

    def __init__(self, failures: int, successes: int) -> None:
        self._failures, self._successes = failures, successes
        self._rounds = 0
        self.well: bool | None = None

    def judge(self, ready: bool) -> bool:
        """Count a round; return whether the pod should be listed."""
        if self.well is None:
            self.well = True if ready else None
            return ready
        self._rounds = 0 if ready is self.well else self._rounds + 1
        if self._rounds >= (self._failures if self.well else self._successes):
            self.well, self._rounds = ready, 0
        return self.well


class Registrar:
    """The life of one entry."""

    def __init__(
        self,
        registry: Registry,
        entry: Entry,
        settings: RegistrySettings,
        service: Service,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._entry = entry
        self._settings = settings
        self._service = service
        self._lifecycle = service.lifecycle
        self._state = service.registration
        self._clock = clock
        self._thresholds = Thresholds(settings.failures, settings.successes)
        #: What the registry was last told; None if it must be told again.
        self._told: bool | None = None
        self._read_at = 0.0
        self._leaving = False

    async def live(self) -> None:
        """Register, beat and read back until the drain begins, then deregister."""
        await self._lifecycle.wait(Phase.READY)
        draining = asyncio.create_task(self._lifecycle.wait(Phase.DRAINING))
        call: asyncio.Task[None] | None = None
        while not draining.done():
            call = asyncio.create_task(self._round(), name="registry")
            await asyncio.wait({call, draining}, return_when=asyncio.FIRST_COMPLETED)
            first = self._thresholds.well is None
            pause = FIRST_LOOK if first else self._settings.interval_seconds
            await asyncio.wait({draining}, timeout=pause * random.uniform(1, 1 + JITTER))
        self._leaving = True
        await self._leave(call)

    # -- while the service is ready -----------------------------------------------------

    async def _round(self) -> None:
        answer = self._service.probes.readyz()
        well = self._thresholds.judge(answer.ok)
#% if cookiecutter.service_registry == "consul"
        if self._settings.strategy == "probe":  # the registry itself counts
            well = self._thresholds.well is not None
#% endif
        if self._thresholds.well is None:
            return
        try:
            await self._tell(well, self._note(answer.reason))
        except RegistryError as error:
            self._state.fail(str(error))
        except Exception as error:
            self._state.fail(f"unexpected error: {error!r}")
            log.exception("registrar raised")

    async def _tell(self, well: bool, note: str) -> None:
        """One round of calls."""
        if self._told is not well:
            await self._register(well, note)
        elif self._settings.strategy == "heartbeat":
            try:
                await self._registry.beat(self._entry, well=well, note=note)
            except UnknownEntryError:
                await self._register_again(well, note)
            self._state.succeed()
        if well and self._clock() >= self._read_at and not self._leaving:
            await self._read_back(note)

    async def _register(self, well: bool, note: str) -> None:
        if self._leaving:
            return
        before, self._told = self._told, None
        was_present, self._state.present = self._state.present, True
        try:
            await self._registry.register(self._entry, well=well, note=note)
        except RegistryError as error:
            self._state.present = was_present or error.applied
            raise
        self._told = self._state.listed = well
        # A registry of several servers shows it a moment later.
        self._read_at = self._clock() + self._settings.interval_seconds
        self._state.succeed()
        if well and before is not well:
            log.info("registered", entry=self._entry.id, why=note)
        elif before is not well:
            log.warning("taken out of the registry", entry=self._entry.id, why=note)

    async def _register_again(self, well: bool, note: str) -> None:
        log.warning("registry lost the entry; registering again", entry=self._entry.id)
        await self._register(well, note)

    async def _read_back(self, note: str) -> None:
        """Check what readers see; register again what is not there."""
        seen = await self._registry.read(self._entry)
        self._state.succeed()
        self._state.listed = seen == "listed"
        if seen == "unknown":
            await self._register_again(True, note)
        pause = self._settings.read_back_seconds
        self._read_at = self._clock() + pause * random.uniform(1, 1 + JITTER)

    def _note(self, reason: str) -> str:
        """Why the pod is ready or not, with the checks that fail."""
        failing = [
            f"check {name}: {result['error']}"
            for name, result in self._service.checks.results().items()
            if result["well"] is False and not result["gating"]
        ]
        return "; ".join([reason or "ready", *failing])

    # -- when it stops ------------------------------------------------------------------

    async def _leave(self, call: "asyncio.Task[None] | None") -> None:
        """Deregister; once more if a call that was under way may have registered again."""
        began = self._clock()
        until = began + self._settings.deregister_seconds
        under_way = call is not None and not call.done()
        if not (self._state.present or under_way):
            return
        why = await self._deregister(until)
        if call is not None and under_way:
            await asyncio.wait({call}, timeout=max(0.0, until - self._clock()))
            why = await self._deregister(until)
            call.cancel()
        if why:
            log.error(
                "not removed from the registry; its readers send requests until the entry expires",
                entry=self._entry.id,
                why=why,
            )
            return
        self._state.remove()
        log.info(
            "removed from the registry",
            entry=self._entry.id,
            elapsed=round(self._clock() - began, 3),
        )

    async def _deregister(self, until: float) -> str:
        """Try until then; return why it failed, or nothing."""
        delay, why = FIRST_DELAY, "no time was left"
        while (left := until - self._clock()) > 0:
            try:
                async with asyncio.timeout(left):
                    await self._registry.deregister(self._entry)
            except TimeoutError:
                why = f"no response within {self._settings.deregister_seconds:g} s"
            except Exception as error:
                self._state.failures += 1
                why = str(error) or repr(error)
            else:
                return ""
            pause = min(delay * random.uniform(1, 1 + JITTER), max(0.0, until - self._clock()))
            delay = min(LONGEST_DELAY, 2 * delay)
            await asyncio.sleep(pause)
        return why


async def describe(settings: Settings) -> str:
    """What readers of the registry see of this pod; for ``whoami``."""
    if not settings.registry.url:
        return "not used: APP_REGISTRY__URL is empty"
    try:
        entry, client = entry_of(settings, ""), Client(settings.registry)
        async with client.http:
            return f"{entry.id}: {await client.read(entry)}"
    except RegistryError as error:
        return f"unknown: {error}"
