"""An artefact behind HTTP: what may be asked, who answers, and how a new artefact takes the place of the old one.

Needs the extra `serve`: FastAPI and uvicorn.
"""

from gnas_ext.serve.app import make_app
from gnas_ext.serve.current import Current, Loaded
from gnas_ext.serve.server import serve

__all__ = ["Current", "Loaded", "make_app", "serve"]
