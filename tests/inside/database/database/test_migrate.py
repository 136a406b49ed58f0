"""``python -m app migrate``: one at a time, patient with locks, clear about errors."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from app import migrate
from app.migrations.connection import LOCK
from app.migrations.revisions import needed, title
from dev import postgres
from tests.database.later import Later, held, read_until
from tests.harness import PROJECT, QUICK, clean_environment, eventually

SECRET = "hunter2"
#: The first and the newest revision of the project, and the one that a test adds.
FIRST, NEWEST = "0001", str(needed())
NEXT, AFTER = f"{int(NEWEST) + 1:04}", f"{int(NEWEST) + 2:04}"
ADVISORY = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
#: The session of a migration that sleeps in a statement.
ASLEEP = (
    "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query ~ '^SELECT pg_slee[p]'"
)


@pytest.fixture
def later(tmp_path: Path) -> Later:
    return Later(tmp_path)


class Command:
    """``python -m app migrate`` in this process, with the revisions of this project."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys, self._patch = capsys, monkeypatch

    def __call__(self, *arguments: str, url: str | None = None) -> tuple[int, str, str]:
        """Return the exit code, and what it wrote to stdout and stderr."""
        self._patch.setenv("APP_DATABASE__URL", QUICK["APP_DATABASE__URL"] if url is None else url)
        code = migrate.main(list(arguments))
        return code, *self._capsys.readouterr()


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(capsys, monkeypatch)


def one(url: str, sql: str) -> str:
    return postgres.query(url, sql)[0][0]


def revision(url: str) -> str:
    return one(url, "SELECT version_num FROM alembic_version")


def test_three_at_once_run_one_after_the_other(empty_database: str, later: Later) -> None:
    """The index waits for all old snapshots, so those who wait for the lock must have none."""
    newest = later.add(
        "slow",
        "op.execute('SELECT pg_sleep(2)')",
        "with op.get_context().autocommit_block():",
        "    op.execute('CREATE INDEX CONCURRENTLY ix_slow ON notes (title)')",
    )
    processes = [later.start() for _ in range(3)]
    said = [process.communicate(timeout=60) for process in processes]

    assert [process.returncode for process in processes] == [0, 0, 0], said
    assert sorted(out.count("Applied ") for out, _ in said) == [0, 0, int(newest)]
    assert sum("Another migration runs: waiting for it." in out for out, _ in said) == 2
    assert all(
        f"The schema is at {newest} (slow), as this version needs." in out for out, _ in said
    )
    assert revision(empty_database) == newest
    assert one(empty_database, ADVISORY) == "0"


def test_a_table_in_use_is_waited_for_in_short_steps(database: str, later: Later) -> None:
    later.add("price", "op.add_column('notes', sa.Column('price', sa.Integer()))")
    with held(database, "SET application_name = 'report'", "SELECT * FROM notes"):
        migration = later.start(APP_MIGRATIONS__LOCK_SECONDS="0.3")
        line = read_until(migration, "waits for a lock")
        longest = 0.0
        for _ in range(20):  # others do not queue behind the migration for longer than a step
            began = time.monotonic()
            postgres.query(database, "SELECT count(*) FROM notes")
            longest = max(longest, time.monotonic() - began)
    rest, err = migration.communicate(timeout=60)

    assert re.search(
        r"oldest transaction is that of process \d+ \(report\), idle in transaction, \d+ s old",
        line,
    )
    assert longest < 5
    assert migration.returncode == 0, err
    assert f"Applied {NEXT} (price)." in rest


def test_it_gives_up_on_a_table_that_stays_locked(database: str, later: Later) -> None:
    later.add("price", "op.add_column('notes', sa.Column('price', sa.Integer()))")
    with held(database, "SELECT * FROM notes"):
        done = later.migrate(APP_MIGRATIONS__LOCK_SECONDS="0.2", APP_MIGRATIONS__WAIT_SECONDS="1")

    assert done.returncode == 1
    assert (
        f"Revision {NEXT} (price) did not get a lock within APP_MIGRATIONS__WAIT_SECONDS=1;"
        in done.stderr
    )
    assert revision(database) == NEWEST


def test_it_gives_up_on_a_migration_that_does_not_end(database: str, later: Later) -> None:
    later.add("price")
    with held(database, f"SELECT pg_advisory_lock({LOCK})"):
        done = later.migrate(APP_MIGRATIONS__WAIT_SECONDS="1")

    assert done.returncode == 1
    assert done.stderr.startswith("Another migration still runs")


def test_a_statement_that_takes_too_long_is_ended(database: str, later: Later) -> None:
    later.add(
        "slow", "op.execute('CREATE TABLE half (id int)')", "op.execute('SELECT pg_sleep(60)')"
    )
    done = later.migrate(APP_MIGRATIONS__STATEMENT_SECONDS="0.5")

    assert done.returncode == 1
    assert done.stderr.startswith(f"Revision {NEXT} (slow) has a statement that took longer than")
    assert one(database, "SELECT to_regclass('half') IS NULL") == "t"


def test_what_went_well_before_a_failure_stays(database: str, later: Later) -> None:
    later.add("good", "op.execute('CREATE TABLE good (id int)')")
    later.add("bad", "op.execute('CREATE TABLE bad (id int)')", "op.execute('SELECT nonsense')")
    done = later.migrate()

    assert (done.returncode, done.stderr) == (
        1,
        f'Revision {AFTER} (bad) failed: column "nonsense" does not exist.\n',
    )
    assert revision(database) == NEXT
    assert (
        one(database, "SELECT to_regclass('bad') IS NULL AND to_regclass('good') IS NOT NULL")
        == "t"
    )


def test_a_killed_migration_leaves_nothing(database: str, later: Later) -> None:
    number = later.add(
        "slow", "op.execute('CREATE TABLE half (id int)')", "op.execute('SELECT pg_sleep(600)')"
    )
    migration = later.start(APP_MIGRATIONS__STATEMENT_SECONDS="600")
    eventually(lambda: one(database, ASLEEP) == "1", "the migration to sleep")
    os.kill(migration.pid, signal.SIGKILL)
    migration.communicate()

    eventually(lambda: one(database, ASLEEP) == "0", "the server to notice", timeout=30)
    assert one(database, "SELECT to_regclass('half') IS NULL") == "t"
    (later.versions / f"{number}_slow.py").unlink()
    assert later.add("quick", "op.execute('CREATE TABLE half (id int)')") == number
    assert later.migrate().returncode == 0
    assert revision(database) == number


def test_check_tells_older_current_and_newer_apart(empty_database: str, command: Command) -> None:
    def check() -> tuple[int, str]:
        code, said, _ = command("--check")
        return code, said.strip()

    needs = f"but this version needs {title(NEWEST)}: run `python -m app migrate`."
    assert check() == (3, f"The database has no schema yet, {needs}")
    assert command(FIRST)[0] == 0
    assert check() == (3, f"The schema is at {title(FIRST)}, {needs}")
    assert command()[0] == 0
    assert check() == (0, f"The schema is at {title(NEWEST)}, as this version needs.")
    postgres.query(empty_database, f"UPDATE alembic_version SET version_num = '{NEXT}'")
    assert check() == (
        4,
        f"The schema is at {NEXT}, newer than {title(NEWEST)} of this version, which can use it.",
    )


def test_an_older_version_leaves_a_newer_schema_alone(
    database: str, later: Later, command: Command
) -> None:
    later.add("price", "op.add_column('notes', sa.Column('price', sa.Integer()))")
    assert later.migrate().returncode == 0

    assert command()[0] == 0
    assert command(FIRST)[0] == 0
    assert revision(database) == NEXT


def test_the_printed_sql_does_the_same(empty_database: str, command: Command) -> None:
    assert command(FIRST)[0] == 0
    code, printed, _ = command("--sql")
    assert code == 0
    assert "CREATE TABLE notes" in printed
    assert "CREATE TABLE idempotency_keys" not in printed
    assert command("--sql", FIRST, url="")[1] == printed

    psql = [str(postgres._programs() / "psql"), empty_database, "-X", "-q", "-v", "ON_ERROR_STOP=1"]
    subprocess.run(psql, input=printed, text=True, check=True, capture_output=True)
    current = f"The schema is at {title(NEWEST)}, as this version needs.\n"
    assert command("--check")[:2] == (0, current)
    assert command("--sql")[:2] == (0, f"-- {current}")


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("", "APP_DATABASE__URL is not set: it names the database, such as"),
        (
            f"postgresql://u:{SECRET}@127.0.0.1:1/x",
            "No connection to the database at 127.0.0.1:1/x: connection refused.",
        ),
        (
            f"postgresql://u:{SECRET}@host.invalid/x",
            "No connection to the database at host.invalid:5432/x: ",
        ),
    ],
    ids=["none", "refused", "unknown host"],
)
def test_a_wrong_address_is_refused_in_a_sentence(
    url: str, sentence: str, command: Command
) -> None:
    code, said, error = command(url=url)
    assert (code, said) == (1, "")
    assert error.startswith(sentence)
    assert error.count("\n") == 1
    assert SECRET not in error


def test_a_wrong_password_and_a_missing_database_are_named(command: Command) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as rules:
        rules.write("host all postgres all trust\nhost all all all scram-sha-256\n")
        rules.flush()
        Path(rules.name).chmod(0o644)  # for the user that the server runs as
        with postgres.server(f"hba_file={rules.name}") as url:
            postgres.query(url, "CREATE ROLE web LOGIN PASSWORD 'right'")
            place = url.partition("@")[2].partition("/")[0]
            wrong = command(url=f"postgresql://web:{SECRET}@{place}/postgres")
            missing = command(url=f"postgresql://web:right@{place}/missing")
            forbidden = command(url=f"postgresql://web:right@{place}/postgres")

    none = f"No connection to the database at {place}/"
    failed = 'password authentication failed for user "web".\n'
    assert wrong == (1, "", f"{none}postgres: {failed}")
    assert missing == (1, "", f'{none}missing: database "missing" does not exist.\n')
    assert forbidden == (
        1,
        "",
        f"Revision {title(FIRST)} failed: permission denied for schema public.\n",
    )


@pytest.mark.parametrize(
    "arguments", [["--nonsense"], ["--check", "0001"], ["0001", "0002"], ["base"]]
)
def test_wrong_usage_is_answered_with_the_usage(arguments: list[str], command: Command) -> None:
    code, said, error = command(*arguments)
    assert (code, said) == (2, "")
    assert error.startswith("usage: python -m app migrate")


@pytest.mark.parametrize("url", ["nonsense", f"mysql://a:{SECRET}@b/c"])
def test_an_address_that_is_none_is_a_wrong_setting(url: str, command: Command) -> None:
    code, said, error = command(url=url)
    assert (code, said) == (2, "")
    assert error.startswith("APP_DATABASE__URL ")
    assert SECRET not in error


@pytest.mark.parametrize("arguments", [["9999"], ["--sql", "9999"]])
def test_an_unknown_revision_is_refused(arguments: list[str], command: Command) -> None:
    sentence = f"There is no revision '9999': the newest is {NEWEST}.\n"
    assert command(*arguments) == (1, "", sentence)


def test_nothing_else_imports_alembic() -> None:
    code = "import sys, app.main, app.migrate; print('alembic' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False\n"
