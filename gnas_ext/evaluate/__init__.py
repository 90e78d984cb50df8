"""How good a model is, and what it costs: ranking in blocks, metrics, milliseconds, bytes, the comparison table."""

from gnas_ext.evaluate.compare import ModelResult, comparison_table, comparison_text, measure
from gnas_ext.evaluate.cost import human_bytes, latency_ms
from gnas_ext.evaluate.evaluate import evaluate, judged_users
from gnas_ext.evaluate.metrics import (
    Hits,
    coverage_at_k,
    f1_at_k,
    find_hits,
    gini_at_k,
    hit_rate_at_k,
    map_at_k,
    mrr_at_k,
    ndcg_at_k,
    novelty_at_k,
    precision_at_k,
    recall_at_k,
)
from gnas_ext.evaluate.rank import top_k, top_k_scores
from gnas_ext.evaluate.seen import SeenItems

__all__ = [
    "Hits",
    "ModelResult",
    "SeenItems",
    "comparison_table",
    "comparison_text",
    "coverage_at_k",
    "evaluate",
    "f1_at_k",
    "find_hits",
    "gini_at_k",
    "hit_rate_at_k",
    "human_bytes",
    "judged_users",
    "latency_ms",
    "map_at_k",
    "measure",
    "mrr_at_k",
    "ndcg_at_k",
    "novelty_at_k",
    "precision_at_k",
    "recall_at_k",
    "top_k",
    "top_k_scores",
]
