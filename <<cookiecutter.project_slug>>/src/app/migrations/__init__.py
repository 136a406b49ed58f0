"""The schema of the database: its revisions, and ``python -m app migrate``.

A revision is a file in ``versions/``: its number, what it is for, how to upgrade and how to
go back. Only ``run.py`` and the revisions import Alembic, which the service never needs.
"""
