"""The paths of the gateway itself: health, the OpenAPI document, and Swagger UI to read it."""

from functools import cache
from importlib.resources import files

_FILES = files("clients.gateway")
HEALTH = ("/healthz", "/readyz")
"""The paths that probes ask: whether the gateway runs, and whether the service behind it serves."""
PAGES = (
    dict.fromkeys(HEALTH, "")
    | {"/openapi.json": "openapi.json", "/docs": "docs/index.html"}
    | {f"/docs/{file.name}": f"docs/{file.name}" for file in _FILES.joinpath("docs").iterdir()}
)
"""The file that is served at each path. Empty for health, which is computed."""


@cache
def content(name: str) -> bytes:
    """Returns a file of PAGES."""
    return _FILES.joinpath(name).read_bytes()
