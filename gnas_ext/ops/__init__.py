"""The ops. Importing this costs torch and numpy, nothing else."""

import gnas_ext._native  # (registers the ops; must run before anything below names one)
import gnas_ext.ops._vmap_rules  # noqa: F401  (registers what torch.func.vmap makes of them)
from gnas_ext.ops import prune
from gnas_ext.ops.attention import attention
from gnas_ext.ops.block_linear import block_linear, nm_linear
from gnas_ext.ops.column_blocks import RaggedRows, compact_blocks
from gnas_ext.ops.communities import communities
from gnas_ext.ops.edge_masks import edge_dropout_mask, edge_mask, pack_mask, topk_per_row, unpack_mask
from gnas_ext.ops.embedding_update import embedding_update_int8
from gnas_ext.ops.gat import gat
from gnas_ext.ops.gather_rows import gather_rows
from gnas_ext.ops.index_reduce import index_reduce, index_reduce_arg
from gnas_ext.ops.k_core import k_core
from gnas_ext.ops.propagate import propagate
from gnas_ext.ops.quantize_rows import dequantize_rows, fake_quantize_rows, quantize_rows
from gnas_ext.ops.quantized_rows import QuantizedRows
from gnas_ext.ops.sample_negatives import sample_negatives
from gnas_ext.ops.sample_neighbors import sample_neighbors
from gnas_ext.ops.scatter import ScatterPlan, scatter, scatter_arg
from gnas_ext.ops.sddmm import sddmm
from gnas_ext.ops.segment import gather_segments, segment_arg, segment_reduce
from gnas_ext.ops.segment_softmax import segment_softmax
from gnas_ext.ops.select_edges import select_edges
from gnas_ext.ops.spmm import spmm
from gnas_ext.ops.spmm_blocks import spmm_blocks, spmm_ragged
from gnas_ext.ops.spmm_int32 import spmm_int32
from gnas_ext.ops.spmm_masked import spmm_active, spmm_masked
from gnas_ext.ops.spmm_quantized import spmm_quantized
from gnas_ext.ops.spspmm_topk import spspmm_topk
from gnas_ext.ops.topk_scores import topk_scores
from gnas_ext.ops.transpose import coo_to_csr, transpose

__all__ = [
    "QuantizedRows",
    "RaggedRows",
    "ScatterPlan",
    "attention",
    "block_linear",
    "communities",
    "compact_blocks",
    "coo_to_csr",
    "dequantize_rows",
    "edge_dropout_mask",
    "edge_mask",
    "embedding_update_int8",
    "fake_quantize_rows",
    "gat",
    "gather_rows",
    "gather_segments",
    "index_reduce",
    "index_reduce_arg",
    "k_core",
    "nm_linear",
    "pack_mask",
    "propagate",
    "prune",
    "quantize_rows",
    "sample_negatives",
    "sample_neighbors",
    "scatter",
    "scatter_arg",
    "sddmm",
    "segment_arg",
    "segment_reduce",
    "segment_softmax",
    "select_edges",
    "spmm",
    "spmm_active",
    "spmm_blocks",
    "spmm_int32",
    "spmm_masked",
    "spmm_quantized",
    "spmm_ragged",
    "spspmm_topk",
    "topk_per_row",
    "topk_scores",
    "transpose",
    "unpack_mask",
]
