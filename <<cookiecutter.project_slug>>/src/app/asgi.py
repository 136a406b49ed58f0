"""The routes as a module's ``app``, for tools that import one: they are not the service.

``fastapi dev``, schemathesis, editors and agents look for it, some by ``[tool.fastapi]``
in ``pyproject.toml``. Without the lifecycle there are no components, probes, tasks and
no drain: ``python -m app serve`` runs all that, and never imports this file.

Raises SettingsError with all wrong ``APP_*`` variables when it is imported.
"""

from app.environment import load
from app.main import create_app

app = create_app(load())
