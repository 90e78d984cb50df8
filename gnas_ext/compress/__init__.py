"""How a model gets smaller at (nearly) the same quality."""

from gnas_ext.compress.distil import DistilOptions, distil
from gnas_ext.compress.lists import Lists, teach
from gnas_ext.compress.product import product_table
from gnas_ext.compress.quantisers import Floats, Grouped, Product, Quantiser, RowBits
from gnas_ext.compress.quantize import (
    degree_groups,
    prior_table,
    product_quantize,
    quantize_groups,
    quantize_model,
    quantize_table,
)
from gnas_ext.compress.rotate import importance, rotate, row_length

__all__ = [
    "DistilOptions",
    "Floats",
    "Grouped",
    "Lists",
    "Product",
    "Quantiser",
    "RowBits",
    "degree_groups",
    "distil",
    "importance",
    "prior_table",
    "product_quantize",
    "product_table",
    "quantize_groups",
    "quantize_model",
    "quantize_table",
    "rotate",
    "row_length",
    "teach",
]
