"""Certificates of an authority that a test has made."""

import shutil
import ssl
import subprocess
from pathlib import Path


def certificate(folder: Path, *names: str) -> ssl.SSLContext:
    """Make a CA, ``ca.crt`` in ``folder``, and a server's context with a certificate of it.

    ``names`` are such as "IP:127.0.0.1". Needs openssl.
    """

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=ca")
    openssl("req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=api")
    (folder / "names").write_text(f"subjectAltName={','.join(names)}")
    signed = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names"]
    openssl("x509", "-req", "-in", "server.csr", *signed, "-out", "server.crt")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    return context


HAS_OPENSSL = shutil.which("openssl") is not None
