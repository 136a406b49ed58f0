"""Registers this pod in the service registry, from READY until the drain begins."""

import asyncio
import contextlib
import math
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Protocol

import structlog

from app.lifecycle.checks import Checks
from app.lifecycle.management.probes import Probes
from app.lifecycle.phase import Lifecycle, Phase
from app.lifecycle.registration import Registration
from app.observability.lines import redacted
from app.registry.client import Client, Entry, RegistryError, UnknownEntryError, entry_of
#% if cookiecutter.service_registry == "consul"
from app.registry.consul import Consul as Chosen
#% endif
#% if cookiecutter.service_registry == "etcd"
from app.registry.etcd import Etcd as Chosen
#% endif
#% if cookiecutter.service_registry == "nacos"
from app.registry.nacos import Nacos as Chosen
#% endif
from app.registry.settings import Registry

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
async def registered(
    service: Service,
    settings: Registry,
    *,
    port: int,
    health_port: int,
#% if cookiecutter.tls == "yes"
    secure: bool,
#% endif
) -> AsyncIterator[None]:
    """Keep the pod registered while it is ready; errors are logged and never end the service.

#% if cookiecutter.tls == "yes"
    ``health_port`` is the one with /readyz; ``secure``: ``port`` speaks TLS. Raises
    RegistryError if the pod's address is not known, or the CA cannot be read.
#% else
    ``health_port`` is the one with /readyz. Raises RegistryError if the pod's address is not
    known, or the CA cannot be read.
#% endif
    """
    if not settings.url:
        yield
        return
    entry = entry_of(
        settings,
        port,
        health_port,
        service.version,
#% if cookiecutter.tls == "yes"
        secure=secure,
#% endif
    )
    client = Chosen(settings)
    state = service.registration
    state.url, state.strategy, state.entry = redacted(settings.url), settings.strategy, entry.id
    state.readers, state.budget = settings.readers_seconds, settings.deregister_seconds
    if settings.strategy == "heartbeat":
        state.ttl = float(settings.ttl_seconds)
#% if cookiecutter.service_registry == "consul"
    if settings.strategy == "probe":  # which fails from the start of the drain
        noticed = settings.failures * settings.interval_seconds + settings.timeout_seconds
        state.budget = max(state.budget, noticed)
#% endif
    registrar = Registrar(client, entry, settings, service)
    async with client.http:
        life = asyncio.create_task(registrar.live(), name="registrar")
        try:
            yield
        finally:
            if service.lifecycle.draining and not life.done():
                await asyncio.wait({life}, timeout=LAST_MOMENT)
            life.cancel()
            await asyncio.wait({life})


def jittered(seconds: float) -> float:
    """A pause that differs from those of other pods."""
    return seconds * random.uniform(1, 1 + JITTER)


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
        client: Client,
        entry: Entry,
        settings: Registry,
        service: Service,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
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
            await asyncio.wait({draining}, timeout=jittered(pause))
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
                with self._renewing():
                    await self._client.beat(self._entry, well=well, note=note)
            except UnknownEntryError:
                if well:  # else it is out, as it should be
                    await self._register_again(note)
            self._state.succeed()
        if well and self._clock() >= self._read_at and not self._leaving:
            await self._read_back(note)

    async def _register(self, well: bool, note: str) -> None:
        if self._leaving:
            return
        before, self._told = self._told, None
        was_present, self._state.present = self._state.present, True
        if well:
            self._state.out = math.inf
        try:
            with self._renewing():
                await self._client.register(self._entry, well=well, note=note)
        except RegistryError as error:
            self._state.present = was_present or error.applied
            raise
        self._told = self._state.listed = well
        if not well:
            self._state.out = min(self._state.out, self._clock())
        # A registry of several servers shows it a moment later.
        self._read_at = self._clock() + self._settings.interval_seconds
        self._state.succeed()
        if well and before is not well:
            log.info("registered", entry=self._entry.id, why=note)
        elif before is not well:
            log.warning("taken out of the registry", entry=self._entry.id, why=note)

    @contextlib.contextmanager
    def _renewing(self) -> Iterator[None]:
        """Note that a call makes the entry live for longer, perhaps without a response."""
        try:
            yield
        except RegistryError as error:
            if error.applied:
                self._state.renewed = self._clock()
            raise
        self._state.renewed = self._clock()

    async def _register_again(self, note: str) -> None:
        log.warning("registry lost the entry; registering again", entry=self._entry.id)
        await self._register(True, note)

    async def _read_back(self, note: str) -> None:
        """Check what readers see; register again what is not there."""
        seen = await self._client.read(self._entry)
        self._state.succeed()
        self._state.listed = seen == "listed"
        if seen == "unknown":
            await self._register_again(note)
        self._read_at = self._clock() + jittered(self._settings.read_back_seconds)

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
        why = await self._deregister(until, call)
        if call is not None and under_way:
            await asyncio.wait({call}, timeout=max(0.0, until - self._clock()))
            if self._state.present:
                why = await self._deregister(until, call)
            call.cancel()
        if not self._state.present:  # the call that was under way has failed
            self._state.on_change()
            return
        if why:
            self._state.give_up(why)
            return
        self._state.remove()
        log.info(
            "removed from the registry",
            entry=self._entry.id,
            elapsed=round(self._clock() - began, 3),
        )

    async def _deregister(self, until: float, call: "asyncio.Task[None] | None") -> str:
        """Try until then, or until it was never registered; return why it failed, or nothing."""
        delay, why = FIRST_DELAY, "no time was left"
        while (left := until - self._clock()) > 0:
            if not self._state.present and (call is None or call.done()):
                break
            try:
                async with asyncio.timeout(left):
                    await self._client.deregister(self._entry)
            except TimeoutError:
                why = f"no response within {self._settings.deregister_seconds:g} s"
            except Exception as error:
                self._state.failures += 1
                why = str(error) or repr(error)
            else:
                return ""
            pause = min(jittered(delay), max(0.0, until - self._clock()))
            delay = min(LONGEST_DELAY, 2 * delay)
            await asyncio.sleep(pause)
        return why


async def describe(settings: Registry, port: int) -> str:
    """What readers of the registry see of this pod; for ``whoami``."""
    try:
        entry, client = entry_of(settings, port, port, ""), Chosen(settings)
        async with client.http:
            return f"{entry.id}: {await client.read(entry)}"
    except RegistryError as error:
        return f"unknown: {error}"
