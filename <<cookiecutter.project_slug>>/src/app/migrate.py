"""``python -m app migrate``: its arguments, sentences and exit codes."""

import asyncio
import sys

from app.environment import SettingsError, load
from app.migrations.connection import MigrationError
from app.migrations.revisions import State, compare, describe, known, needed
from app.settings import Settings

USAGE = """usage: python -m app migrate [--check | --sql [REVISION] | REVISION]

  migrate               upgrade the database to the newest revision; others that do so wait
  migrate REVISION      upgrade no further than this one, such as 0002
  migrate --check       print the state of the schema; exit 0 if it is current,
                        3 if this version needs a newer one, 4 if it is newer
  migrate --sql         print the SQL that would be run
  migrate --sql 0001    the same from that revision on, without a database; base: from nothing"""

FAILED, WRONG = 1, 2
#: The exit codes of ``--check``.
CODES = {State.CURRENT: 0, State.OLDER: 3, State.NEWER: 4}


def main(arguments: list[str]) -> int:
    """Do what ``arguments`` ask for; return the exit code."""
    try:
        settings = load()
        return asyncio.run(_run(arguments, settings))
    except SettingsError as error:
        print(error, file=sys.stderr)
        return WRONG
    except MigrationError as error:
        print(error, file=sys.stderr)
        return FAILED


async def _run(arguments: list[str], settings: Settings) -> int:
    from app.migrations import run

    places = settings.database, settings.migrations
    match arguments:
        case []:
            await run.upgrade(*places, _say)
        case ["--check"]:
            found = await run.look(*places)
            print(describe(found))
            return CODES[compare(found)]
        case ["--sql"]:
            found = await run.look(*places)
            if compare(found) is State.OLDER:
                run.print_sql(found, settings.migrations)
            else:
                print(f"-- {describe(found)}")
        case ["--sql", start] if _is_known(start):
            run.print_sql(start, settings.migrations)
        case [target] if target != "base" and not target.startswith("-") and _is_known(target):
            await run.upgrade(*places, _say, target)
        case _:
            print(USAGE, file=sys.stderr)
            return WRONG
    return 0


def _is_known(number: str) -> bool:
    if number in ("base", *known()):
        return True
    raise MigrationError(f"There is no revision {number!r}: the newest is {needed()}.")


def _say(sentence: str) -> None:
    print(sentence, flush=True)
