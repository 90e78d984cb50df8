"""From a file to arrays: reading, cleaning and splitting logs of who touched what.

log = read_log("ratings.csv", min_rating=6, k_core=5)
print(summary(log))
split = split_log(log)
"""

from gnas_ext.data.embedded import movietweetings
from gnas_ext.data.interactions import Interactions, Log, Split, Step, n_items, n_users
from gnas_ext.data.items import read_items
from gnas_ext.data.read import read_log
from gnas_ext.data.split import leave_last_out, random_split, split_log, temporal_split
from gnas_ext.data.split_files import read_split
from gnas_ext.data.summary import summary, summary_table

__all__ = [
    "Interactions",
    "Log",
    "Split",
    "Step",
    "leave_last_out",
    "movietweetings",
    "n_items",
    "n_users",
    "random_split",
    "read_items",
    "read_log",
    "read_split",
    "split_log",
    "summary",
    "summary_table",
    "temporal_split",
]
