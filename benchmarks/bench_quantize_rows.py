"""How fast do rows become int8, and come back, beside torch's own ways?

The scales are what is compared: rivals pack codes differently, and round a few to the other side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from benchmarks import suite
from gnas_ext import ops

if TYPE_CHECKING:
    from benchmarks.suite import Prepare, Run, Setting

SIZES = (64, 128, 256)


def gnas_ext(**options: Any) -> Prepare:
    def prepare(setting: Setting) -> Run:
        x = setting.x
        return lambda: ops.quantize_rows(x, **options).scale

    return prepare


def plain(setting: Setting) -> Run:
    """As a model would: the largest of each row, a division, round, int8."""
    x = setting.x

    def quantize() -> torch.Tensor:
        scale = x.abs().amax(1) / 127
        (x / scale.unsqueeze(1)).round_().to(torch.int8)
        return scale

    return quantize


def per_channel(setting: Setting) -> Run:
    """As a quantised tensor of torch, a channel a row."""
    setting.on_the_cpu()
    x, zero = setting.x, torch.zeros(setting.csr.cols, dtype=torch.int64)

    def quantize() -> torch.Tensor:
        scale: torch.Tensor = x.abs().amax(1) / 127
        torch.quantize_per_channel(x, scale, zero, 0, torch.qint8)
        return scale

    return quantize


def prepacked(setting: Setting) -> Run:
    """What torch's quantised EmbeddingBag and FBGEMM read: codes, scale and bias in one row."""
    setting.on_the_cpu()
    x, width = setting.x, setting.width
    return lambda: (
        torch.ops.quantized.embedding_bag_byte_prepack(x)[:, width : width + 4].view(torch.float32).squeeze(1)
    )


def back(setting: Setting) -> Run:
    rows = ops.quantize_rows(setting.x)
    return lambda: ops.dequantize_rows(rows)


def plain_back(setting: Setting) -> Run:
    rows = ops.quantize_rows(setting.x)
    codes, scale = rows.codes, rows.scale.unsqueeze(1)
    return lambda: codes * scale


FAMILIES = [
    suite.Family(
        "quantize_rows 8 bits",
        None,
        {suite.OURS: gnas_ext(), "plain torch": plain, "quantize_per_channel": per_channel},
        sizes=SIZES,
    ),
    suite.Family(
        "quantize_rows 8 bits, affine",
        None,
        {suite.OURS: gnas_ext(symmetric=False), "embedding_bag_byte_prepack": prepacked},
        sizes=SIZES,
    ),
    suite.Family("dequantize_rows 8 bits", None, {suite.OURS: back, "plain torch": plain_back}, sizes=SIZES),
]


def bench_quantize_rows(benchmark: Any, turn: suite.Turn) -> None:
    suite.measure(benchmark, turn)
