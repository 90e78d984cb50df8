"""How a model gets smaller at (nearly) the same quality."""

from gnas_ext.compress.adapt import Adapted, Limits, adapt, ladder
from gnas_ext.compress.calibrate import calibrate
from gnas_ext.compress.distil import DistilOptions, distil
from gnas_ext.compress.lists import Lists, teach
from gnas_ext.compress.product import product_table
from gnas_ext.compress.prune import ColumnMask, Masked, compact, fold_rows, prune_columns, prune_weights
from gnas_ext.compress.quantisers import Floats, Grouped, Product, Quantiser, RowBits
from gnas_ext.compress.quantize import (
    degree_groups,
    prior_table,
    product_quantize,
    quantize_groups,
    quantize_model,
    quantize_table,
)
from gnas_ext.compress.recipe import Recipe
from gnas_ext.compress.refit import refit
from gnas_ext.compress.report import Report, recall_by_popularity, report
from gnas_ext.compress.rotate import importance, rotate, row_length
from gnas_ext.compress.solve import solve_rows
from gnas_ext.compress.start import student_of

__all__ = [
    "Adapted",
    "ColumnMask",
    "DistilOptions",
    "Floats",
    "Grouped",
    "Limits",
    "Lists",
    "Masked",
    "Product",
    "Quantiser",
    "Recipe",
    "Report",
    "RowBits",
    "adapt",
    "calibrate",
    "compact",
    "degree_groups",
    "distil",
    "fold_rows",
    "importance",
    "ladder",
    "prior_table",
    "product_quantize",
    "product_table",
    "prune_columns",
    "prune_weights",
    "quantize_groups",
    "quantize_model",
    "quantize_table",
    "recall_by_popularity",
    "refit",
    "report",
    "rotate",
    "row_length",
    "solve_rows",
    "student_of",
    "teach",
]
