"""The settings of TLS on the main port."""

from typing import Literal

from pydantic import Field, model_validator

from app.lifecycle.settings import Group, Period


class Tls(Group):
    """TLS on the main port, instead of plain HTTP."""

    certificate: str = Field(
        default="",
        description="File with the certificate and those of its issuers, in PEM. Empty: plain "
        "HTTP. It is loaded again when it changes.",
    )
    key: str = Field(
        default="", description="File with the private key, in PEM and without a password."
    )
    minimum_version: Literal["1.2", "1.3"] = Field(
        default="1.2", description="Lowest version of TLS that clients may use."
    )
    check_seconds: Period = Field(
        default=10.0, description="Time between two looks whether the files have changed."
    )

    @model_validator(mode="after")
    def _a_pair(self) -> "Tls":
        given, missing = ("CERTIFICATE", "KEY") if self.certificate else ("KEY", "CERTIFICATE")
        if bool(self.certificate) != bool(self.key):
            raise ValueError(
                f"{given}={self.certificate or self.key} is set but APP_TLS__{missing} is not: "
                "set both, or neither for plain HTTP"
            )
        return self
