"""Certificates of any kind, and the folder that the kubelet makes of a Secret with one."""

import datetime
import shutil
import ssl
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from tests.wire import Connection

DAY = datetime.timedelta(days=1)


class Issued(NamedTuple):
    """A certificate with its key, both in PEM."""

    certificate: bytes
    key: bytes
    serial: str


def issue(
    days: float = 90, *, kind: str = "ec", password: bytes = b"", begin: float = -1
) -> Issued:
    """A certificate of its own, valid from ``begin`` days from now until ``days`` from now."""
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey = (
        ec.generate_private_key(ec.SECP256R1())
        if kind == "ec"
        else rsa.generate_private_key(public_exponent=65537, key_size=2048)
    )
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begin * DAY)
        .not_valid_after(now + days * DAY)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Issued(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(password)
            if password
            else serialization.NoEncryption(),
        ),
        serial_of(certificate),
    )


def serial_of(certificate: x509.Certificate) -> str:
    """As `openssl x509 -serial` prints it: whole bytes."""
    digits = f"{certificate.serial_number:X}"
    return digits.zfill(len(digits) + len(digits) % 2)


class Secret:
    """The folder of a Secret: files are links through ``..data``, which is replaced at once."""

    def __init__(self, folder: Path, issued: Issued) -> None:
        self.folder = folder
        folder.mkdir()
        self._versions = 0
        self.write(issued.certificate, issued.key)
        for name in ("tls.crt", "tls.key"):
            (folder / name).symlink_to(Path("..data") / name)

    @property
    def settings(self) -> dict[str, str]:
        """What a service needs to use it, and to notice a change at once."""
        return {
            "APP_TLS__CERTIFICATE": str(self.folder / "tls.crt"),
            "APP_TLS__KEY": str(self.folder / "tls.key"),
            "APP_TLS__CHECK_SECONDS": "0.1",
        }

    def write(self, certificate: bytes, key: bytes) -> None:
        """As kubelet's AtomicWriter does it: a new folder, a new link, and the old folder goes."""
        self._versions += 1
        data, link = self.folder / "..data", self.folder / "..data_tmp"
        old = data.resolve() if data.exists() else None
        new = self.folder / f"..2026_{self._versions}"
        new.mkdir()
        (new / "tls.crt").write_bytes(certificate)
        (new / "tls.key").write_bytes(key)
        link.symlink_to(new.name)
        link.replace(data)
        if old is not None:
            shutil.rmtree(old)

    def renew(self, issued: Issued) -> None:
        self.write(issued.certificate, issued.key)


def believing() -> ssl.SSLContext:
    """A client that takes any certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


#: The one of most tests: to make one takes long.
ANYBODY = believing()


class Secured(Connection):
    """A connection with TLS that believes any certificate."""

    def __init__(
        self,
        host: str,
        port: int,
        version: ssl.TLSVersion | None = None,
        *,
        trust: bytes = b"",
        protocols: tuple[str, ...] = (),
    ) -> None:
        super().__init__(host, port)
        self._reader.close()
        context = ssl.create_default_context(cadata=trust.decode()) if trust else ANYBODY
        if version is not None:
            context = context if trust else believing()
            context.minimum_version = context.maximum_version = version
        if protocols:
            context.set_alpn_protocols(protocols)
        try:
            self.secured = context.wrap_socket(
                self._socket,
                server_hostname="localhost",
                suppress_ragged_eofs=False,  # the end must be said
            )
        except OSError:
            self._socket.close()
            raise
        self._socket = self.secured
        self._reader = self.secured.makefile("rb")

    def __enter__(self) -> "Secured":
        return self

    @property
    def serial(self) -> str:
        """The serial number of the certificate that the service has shown."""
        found = self.secured.getpeercert(binary_form=True)
        assert found is not None
        return serial_of(x509.load_der_x509_certificate(found))
