"""The service without the metrics of its requests: what they are compared with."""

import sys
from typing import Any

from app import wiring
from app.environment import load
from app.lifecycle.ports import listen_early
from app.lifecycle.signals import Signals
from app.main import create_service


def main() -> Any:
    signals = Signals()
    signals.install()
    early = listen_early()
    settings = load()
    service = create_service(settings)
    service.traffic.on_done.remove(service.http_metrics)
    wiring.configure_logging(service, settings)
    return service.run(signals, early)


if __name__ == "__main__":
    sys.exit(main())
