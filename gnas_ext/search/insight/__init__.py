"""What a person wants to see of a search, as Polars data frames.

history(study)  # a row a trial
front(study)  # those that no other one beats
importances(study)  # which genes matter, for each objective
genealogy(study, study.best)  # which mutation or crossover brought what
"""

from gnas_ext.search.insight.frames import front, history
from gnas_ext.search.insight.genealogy import genealogy
from gnas_ext.search.insight.importance import importances

__all__ = ["front", "genealogy", "history", "importances"]
