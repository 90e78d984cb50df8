"""Ways to train, for what must hold of all of them."""

from __future__ import annotations

from typing import Any

# What draws or sums, for all that is asked of training: the losses that draw, dropout, recency, priors.
RECIPES: dict[str, dict[str, Any]] = {
    "bpr": {"loss": "bpr"},
    "softmax": {"loss": "softmax", "negatives": 16},
    "all": {
        "loss": "softmax",
        "negatives": 16,
        "half_life_days": 20.0,
        "prior_days": 10.0,
        "net": {"edge_dropout": 0.4, "combine": "halving"},
    },
    "no users": {"loss": "bpr", "prior_days": 10.0, "net": {"free_users": False}, "half_life_days": 5.0},
}
# And all else, for what may depend on it: that it repeats, and that it learns.
MORE: dict[str, dict[str, Any]] = RECIPES | {
    "simplex": {"loss": "cosine_contrastive", "negatives": 16, "margin": 0.3, "avoid_known": True},
    "simplex of the batch": {"loss": "cosine_contrastive", "negatives_from": "batch", "margin": 0.3},
    "directau": {"loss": "alignment_uniformity", "cosine_lr": True},
    "cosines": {"loss": "softmax", "similarity": "cosine", "temperature": 0.2, "corrected": False, "negatives": 16},
    "batch": {"loss": "softmax", "negatives_from": "batch", "prior_days": 10.0},
    "mixed": {"loss": "softmax", "negatives_from": "mixed", "negatives": 15, "avoid_known": True, "cosine_lr": True},
    "bpr by popularity": {"similarity": "cosine", "temperature": 0.3, "negatives_from": "popularity"},
    "bpr in the batch": {"negatives_from": "batch", "avoid_known": True},
    "bpr mixed": {"negatives_from": "mixed", "avoid_known": True, "cosine_lr": True},
    "simgcl": {"contrast": "views", "net": {"edge_dropout": 0.2}},
    "xsimgcl": {"contrast": "layers", "loss": "softmax", "negatives": 16, "similarity": "cosine"},
    "multinomial": {"loss": "multinomial", "prior_days": 10.0, "weight_decay": 0.01},
    "multinomial of cosines": {"loss": "multinomial", "similarity": "cosine", "temperature": 0.2, "cosine_lr": True},
    "multinomial without hops": {"loss": "multinomial", "optimizer": "rowwise_adagrad", "net": {"hops": 0}},
    "lazy": {"optimizer": "lazy_adam", "loss": "softmax", "negatives": 16, "prior_days": 10.0, "net": {"hops": 0}},
    "lazy simplex": {"optimizer": "lazy_adam", "loss": "cosine_contrastive", "margin": 0.3, "net": {"hops": 0}},
    "adagrad": {"optimizer": "rowwise_adagrad", "lr": 0.1, "net": {"hops": 0}, "cosine_lr": True},
    "learned": {"net": {"combine": "learned", "edge_dropout": 0.3, "loop": 0.2, "residual": 0.1}},
    "concat": {"loss": "alignment_uniformity", "net": {"combine": "concat"}},
    "attention": {"net": {"attention": True, "combine": "learned"}},
    "relu": {"net": {"transform": "relu", "combine": "last"}},
    "pruned": {"net": {"edges_kept": 0.5, "edge_dropout": 0.2}},
    "pruned as is learned": {"net": {"edges_kept": 0.5, "edge_scores": "learned"}, "loss": "softmax", "negatives": 16},
    "settled": {"net": {"settled_share": 0.3, "edges_kept": 0.7}, "contrast": "views"},
}
