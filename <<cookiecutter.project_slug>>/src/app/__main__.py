"""The commands: serve, drain, probe, whoami, settings, unit, version.

Each imports only what it needs: ``drain`` and ``probe`` run next to the service.
"""

import os
import sys

USAGE = """usage: python -m app COMMAND

  serve        run the service until SIGTERM or SIGINT
  drain        drain the running service and wait for it: the preStop hook
  level [NAME] print the lowest level that the running service logs, or change it:
               debug, info, warning or error
  probe NAME   ask livez, readyz or startupz; exit 0 on success
#% if cookiecutter.database == "postgresql"
  migrate      upgrade the database; --check, --sql and REVISION: `migrate --help`
#% endif
  whoami       print which pod this is and the state of its endpoint
  settings     list all settings with range, default and description
  unit KIND    print a systemd unit or a compose file for these settings: systemd, compose
  version      print the version"""


def main() -> int:
    """Run the given command; return its exit code, 2 for wrong usage."""
    match sys.argv[1:]:
        case ["serve"]:
            return _serve()
        case ["drain"]:
            from app.lifecycle.management import prestop

            return prestop.drain()
        case ["level", *names] if len(names) < 2:
            from app.lifecycle.management import prestop

            return prestop.level(*names)
        case ["probe", name]:
            from app.lifecycle.management import prestop

            return prestop.probe(name)
#% if cookiecutter.database == "postgresql"
        case ["migrate", *arguments]:
            from app import migrate

            return migrate.main(arguments)
#% endif
        case ["whoami"] | ["unit", "systemd" | "compose"] as command:
            return _print(*command)
        case ["settings"]:
            from app.environment import render

            print(render())
        case ["version"]:
            from importlib.metadata import version

            print(version("<< cookiecutter.project_slug >>"))
        case ["help" | "-h" | "--help"]:
            print(USAGE)
        case _:
            print(USAGE, file=sys.stderr)
            return 2
    return 0


def _print(command: str, kind: str = "") -> int:
    from app.environment import SettingsError, load

    try:
        settings = load()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    if command == "whoami":
        from app import whoami

        print(whoami.render(settings))
    else:
        from app import unit

        print(unit.render(kind, settings))
    return 0


def _serve() -> int:
    # Before the heavy imports: signals that arrive meanwhile are not lost, and probes wait.
    from app.lifecycle.ports import listen_early
    from app.lifecycle.signals import Signals

    signals = Signals()
    signals.install()
    early = listen_early()

    from app.environment import SettingsError, load

    try:
        settings = load()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2

    from app import wiring
    from app.main import create_service

    try:
        service = create_service(settings)
        wiring.configure_logging(service, settings)
        if "NOTIFY_SOCKET" in os.environ:
            from app.lifecycle import systemd

            systemd.notify(service.lifecycle, lambda: service.probes.livez().ok)
        return service.run(signals, early)
    finally:
        signals.ignore()


if __name__ == "__main__":
    sys.exit(main())
