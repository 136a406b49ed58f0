"""The certificate of the main port: loaded once, and again when its files change.

The kubelet replaces the files of a Secret by moving a link, cert-manager and administrators by
renaming or writing. So nothing is assumed about how: the files' identity is compared at
intervals. A new pair is loaded into a context of its own, which replaces the old one as a whole
once the pair is known to be good; connections keep the context that they began with.
"""

import asyncio
import re
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from app.lifecycle.ports import StartError

log = structlog.get_logger(__name__)

#: How often a pair is read again that changes while it is read.
ATTEMPTS = 3
#: Where the parts of a certificate are, and the tags of its version and of years with two digits.
SERIAL, VALIDITY = 0, 3
VERSION, SHORT_YEAR = 0xA0, 0x17

#: Device, number, size and time of both files; None for one that is missing.
State = list[tuple[int, ...] | None]


class CertificateError(StartError):
    """The pair cannot be used; the message is one sentence that names the file and the remedy."""


@dataclass(frozen=True, slots=True)
class Files:
    """Where the pair is; the settings describe each field."""

    certificate: Path
    key: Path
    minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    #: Seconds between two looks at the files.
    check: float = 10.0

    @classmethod
    def named(cls, certificate: str, key: str, *, minimum: str, check: float) -> "Files | None":
        """Those with these names; None if they are empty."""
        lowest = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[minimum]
        return cls(Path(certificate), Path(key), lowest, check) if certificate else None


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with its key, ready for handshakes."""

    context: ssl.SSLContext
    #: The serial number, as ``openssl x509 -serial`` prints it.
    serial: str
    #: From when until when it is valid, in Unix time.
    not_before: float
    not_after: float

    @property
    def expires(self) -> str:
        """``not_after`` for a log line."""
        return datetime.fromtimestamp(self.not_after, UTC).isoformat()


class Certificate:
    """The current pair. Raises CertificateError if there is no usable one to begin with.

    One that has expired is good enough for the start: clients that do not check it go on.
    """

    def __init__(self, files: Files) -> None:
        self.files = files
        #: How many attempts to load a changed pair failed.
        self.failures = 0
        self._complaint = ""
        self._seen, self.pair = _read(files)
        serial, expires = self.pair.serial, self.pair.expires
        log.info("certificate loaded", serial=serial, expires=expires)
        if self.pair.not_after <= time.time():
            log.error("certificate has expired: issue a new one", serial=serial, expires=expires)

    async def refresh(self) -> None:
        """Load the pair if its files have changed; one that is broken leaves the old one in use.

        A broken one is tried again by the next call: the remedy may not change the files.
        """
        if await asyncio.to_thread(_state, self.files) == self._seen:
            return
        try:
            seen, pair = await asyncio.to_thread(_read, self.files)
            if pair.not_after <= time.time():
                raise CertificateError(
                    f"APP_TLS__CERTIFICATE={self.files.certificate} has expired: issue a new one"
                )
        except CertificateError as error:
            self.failures += 1
            if self._complaint != str(error):
                self._complaint = str(error)
                serial, expires = self.pair.serial, self.pair.expires
                log.error(
                    "certificate not reloaded", reason=str(error), serial=serial, expires=expires
                )
            return
        before, self._seen, self.pair, self._complaint = self.pair.serial, seen, pair, ""
        log.info("certificate reloaded", serial=pair.serial, expires=pair.expires, before=before)


def _state(files: Files) -> State:
    found: State = []
    for path in (files.certificate, files.key):
        try:
            stat = path.stat()
        except OSError:
            found.append(None)
        else:
            found.append((stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns))
    return found


def _read(files: Files) -> tuple[State, Pair]:
    """Load both files as they are at one time; raises CertificateError."""
    attempts = ATTEMPTS
    while True:
        attempts -= 1
        before, pair = _state(files), None
        try:
            pair = _load(files)
        except CertificateError:
            if not attempts or _state(files) == before:
                raise
        if pair is not None and (not attempts or _state(files) == before):
            return before, pair


def _load(files: Files) -> Pair:
    where = f"APP_TLS__CERTIFICATE={files.certificate}"
    text = _text(files.certificate, "APP_TLS__CERTIFICATE")
    _text(files.key, "APP_TLS__KEY")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = files.minimum
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])

    def password() -> str:  # else OpenSSL asks for it on the terminal
        raise CertificateError(
            f"APP_TLS__KEY={files.key} is encrypted: store it without a password"
        )

    try:
        context.load_cert_chain(files.certificate, files.key, password)
        return Pair(context, *_facts(text))
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            reason = f"is not the certificate of APP_TLS__KEY={files.key}"
        else:
            reason = f"and APP_TLS__KEY={files.key} are no pair in PEM ({error.reason or error})"
    except (OSError, ValueError, IndexError) as error:
        reason = f"cannot be read ({error})"
    raise CertificateError(f"{where} {reason}: write both anew, from one issue") from None


def _text(path: Path, setting: str) -> str:
    try:
        return path.read_text("latin-1")
    except OSError as error:
        raise CertificateError(
            f"{setting}={path} cannot be read ({error.strerror}): mount it there, readable by the "
            "service's user"
        ) from None


def _facts(text: str) -> tuple[str, float, float]:
    """Serial number, begin and end of the first certificate in ``text``."""
    found = re.search("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", text, re.DOTALL)
    if found is None:
        raise ValueError("no certificate in it")
    (_, whole), *_ = _parts(ssl.PEM_cert_to_DER_cert(found[0]))
    (_, signed), *_ = _parts(whole)
    fields = [content for tag, content in _parts(signed) if tag != VERSION]
    begin, end = [
        datetime.strptime(text.decode(), f"%{'y' if tag == SHORT_YEAR else 'Y'}%m%d%H%M%S%z")
        for tag, text in _parts(fields[VALIDITY])
    ]
    # Without the byte that keeps a number positive.
    return fields[SERIAL].lstrip(b"\0").hex().upper(), begin.timestamp(), end.timestamp()


def _parts(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each element of a sequence."""
    at = 0
    while at < len(der):
        tag, size, at = der[at], der[at + 1], at + 2
        if size & 0x80:
            at, size = at + (size & 0x7F), int.from_bytes(der[at : at + (size & 0x7F)])
        yield tag, der[at : at + size]
        at += size
