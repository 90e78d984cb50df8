"""Evolution over any space of choices: declare genes, hand in a function to optimise, get a study back.

    from gnas_ext.search import Categorical, Integer, LogFloat, SearchSpace, evolve

    space = SearchSpace({"hops": Integer(1, 4), "agg": Categorical(["sum", "mean", "max"]), "lr": LogFloat(1e-4, 1e-1)})
    study = evolve(space, evaluate, evaluations=200, directions=["maximize"], seed=0)
    study.best.genotype, study.front

A genotype is a sequence of tokens and back (`space`, `genotype`); `operators` and `selection` make and choose
candidates, `proposer` decides what comes next, `engine` runs the loop, `journal` keeps it on disk, `insight` shows what
came of it. Nothing of that knows what is searched.
"""

from gnas_ext.search.cell import Cell, Node
from gnas_ext.search.cluster import Cluster
from gnas_ext.search.earlier import best_of_earlier
from gnas_ext.search.engine import evolve
from gnas_ext.search.genes import Categorical, Float, Gene, Integer, LogFloat, Value
from gnas_ext.search.genotype import Genotype
from gnas_ext.search.insight import front, genealogy, history, importances
from gnas_ext.search.space import SearchSpace, Tokens
from gnas_ext.search.study import Direction, Stop, Study
from gnas_ext.search.trial import Outcome, Trial

__all__ = [
    "Categorical",
    "Cell",
    "Cluster",
    "Direction",
    "Float",
    "Gene",
    "Genotype",
    "Integer",
    "LogFloat",
    "Node",
    "Outcome",
    "SearchSpace",
    "Stop",
    "Study",
    "Tokens",
    "Trial",
    "Value",
    "best_of_earlier",
    "evolve",
    "front",
    "genealogy",
    "history",
    "importances",
]
