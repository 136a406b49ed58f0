"""The routes as an importable ``app``, for tools: ``fastapi dev``, schemathesis, editors, APM.

It has no lifecycle: no components, probes, tasks or drain. ``python -m app serve`` never
imports it. The import raises SettingsError if ``APP_*`` variables are wrong.
"""

from app.environment import load
from app.main import create_app

app = create_app(load())
