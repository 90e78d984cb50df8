"""Using what was found: the artefact, a folder that can be shipped, and the recommender that reads it."""

from gnas_ext.recommend._load import load
from gnas_ext.recommend.artefact import save_artefact
from gnas_ext.recommend.explain import Explanation
from gnas_ext.recommend.manifest import Manifest, is_artefact
from gnas_ext.recommend.provenance import Provenance, fingerprint, package_versions
from gnas_ext.recommend.recommender import Recommender

__all__ = [
    "Explanation",
    "Manifest",
    "Provenance",
    "Recommender",
    "fingerprint",
    "is_artefact",
    "load",
    "package_versions",
    "save_artefact",
]
