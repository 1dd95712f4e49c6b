"""`uvicorn tests.browser.still_app:app`: a service with the engine of `still_engine.py`.

For a process of its own: whoever imports this makes all its services have that engine.
"""

from app import main
from tests.browser.still_engine import create_still_engine

main.create_executor = create_still_engine  # type: ignore[attr-defined]
app = main.create_app()
