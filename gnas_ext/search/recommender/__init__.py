"""The search for a recommender: its spaces, what a genotype is worth, and what is handed over in the end.

found = find(split, minutes=5)
found.model, found.trial.genotype
"""

from gnas_ext.search.recommender.build import Built, build, retrain
from gnas_ext.search.recommender.choices import Models, space_and_recipes
from gnas_ext.search.recommender.classic import build_classic, classic_recipes, classic_space
from gnas_ext.search.recommender.compression import compress, compression_genes, recipe_of
from gnas_ext.search.recommender.embeddings import embedding_recipes, embedding_space
from gnas_ext.search.recommender.finals import Finalist, choose, qualified
from gnas_ext.search.recommender.find import Found, find
from gnas_ext.search.recommender.limited import Limited
from gnas_ext.search.recommender.objective import Goal, Objective
from gnas_ext.search.recommender.space import lightgcn_recipes, recipes, recommender_space
from gnas_ext.search.recommender.trained import train_genotype
from gnas_ext.search.recommender.training_free import (
    build_training_free,
    training_free_recipes,
    training_free_space,
)
from gnas_ext.search.recommender.whole import whole_recipes, whole_space

__all__ = [
    "Built",
    "Finalist",
    "Found",
    "Goal",
    "Limited",
    "Models",
    "Objective",
    "build",
    "build_classic",
    "build_training_free",
    "choose",
    "classic_recipes",
    "classic_space",
    "compress",
    "compression_genes",
    "embedding_recipes",
    "embedding_space",
    "find",
    "lightgcn_recipes",
    "qualified",
    "recipe_of",
    "recipes",
    "recommender_space",
    "retrain",
    "space_and_recipes",
    "train_genotype",
    "training_free_recipes",
    "training_free_space",
    "whole_recipes",
    "whole_space",
]
