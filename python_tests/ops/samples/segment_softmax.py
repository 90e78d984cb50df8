from __future__ import annotations

from typing import TYPE_CHECKING, Any

from python_tests.ops.samples._inputs import inputs

if TYPE_CHECKING:
    import torch

    from python_tests.ops.samples import Samples


def segment_softmax(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    sample = inputs(index, dtype, device)
    wide = sample.weight.detach().unsqueeze(1).repeat(1, 3).cumsum(1).requires_grad_()
    return [(sample.csr.indptr, sample.weight), (sample.csr.indptr, wide), (sample.csr.indptr, wide.detach())]


def backward(index: torch.dtype, dtype: torch.dtype, device: torch.device) -> list[tuple[Any, ...]]:
    calls = segment_softmax(index, dtype, device)
    return [(indptr, x, x.detach().flip(0).requires_grad_(x.requires_grad)) for indptr, x in calls]


SAMPLES: dict[str, Samples] = {"segment_softmax": segment_softmax, "segment_softmax_backward": backward}
