"""How a model gets smaller at (nearly) the same quality."""

from gnas_ext.compress.quantize import quantize_model, quantize_table

__all__ = ["quantize_model", "quantize_table"]
