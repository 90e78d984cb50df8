"""Layers for those who come from PyG: its names, arguments, outputs and `state_dict`, on this package's ops.

They take PyG's `edge_index`, which is sorted once and kept as long as that tensor lives, or a `CSR`. Only torch is
needed.
"""

from gnas_ext.nn.gat_conv import GATConv
from gnas_ext.nn.gcn_conv import GCNConv
from gnas_ext.nn.gin_conv import GINConv
from gnas_ext.nn.lg_conv import LGConv
from gnas_ext.nn.norm import gcn_norm
from gnas_ext.nn.sage_conv import SAGEConv

__all__ = ["GATConv", "GCNConv", "GINConv", "LGConv", "SAGEConv", "gcn_norm"]
