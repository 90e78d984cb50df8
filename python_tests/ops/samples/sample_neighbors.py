from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from python_tests.ops.samples._inputs import inputs

if TYPE_CHECKING:
    from python_tests.ops.samples import Samples


def sample_neighbors(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    graph = inputs(index, dtype, device).graph
    nodes = torch.tensor([3, 3, 0], dtype=index, device=device)
    places = torch.tensor([0, 2, 3, 3], dtype=index, device=device)
    return [(*graph, nodes, places, 3, False, 7, 0), (*graph, nodes, places, 3, True, -7, 2)]


SAMPLES: dict[str, Samples] = {"sample_neighbors": sample_neighbors}
