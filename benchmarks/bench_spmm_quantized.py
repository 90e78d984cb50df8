"""How fast are the products over quantised rows, beside what people use and beside our own float32?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from benchmarks import rivals, suite
from gnas_ext import ops
from gnas_ext.ops.quantized_rows import QuantizedRows, packed

if TYPE_CHECKING:
    from benchmarks.suite import Prepare, Run, Setting


def codes_of(setting: Setting, bits: int = 8) -> torch.Tensor:
    """Codes of so many bits, one a number."""
    random = torch.Generator(setting.device).manual_seed(bits)
    half = 2 ** (bits - 1)
    shape = (setting.csr.cols, setting.width)
    return torch.randint(-half, half, shape, generator=random, device=setting.device, dtype=torch.int8)


def scale_of(setting: Setting) -> torch.Tensor:
    """Float32, as half precision holds it: FBGEMM's tables keep it so."""
    return (setting.numbers(setting.csr.cols, seed=2).abs() / 100).half().float()


def table_of(setting: Setting, codes: torch.Tensor, bits: int) -> QuantizedRows:
    """Symmetric rows of these codes, packed."""
    return QuantizedRows(packed(codes, bits), scale_of(setting), None, bits, setting.width)


def ours(bits: int = 8, of: int = 0) -> Prepare:
    """Rows of `bits` bits, with codes that fit `of` bits."""

    def prepare(setting: Setting) -> Run:
        csr, rows = setting.csr, table_of(setting, codes_of(setting, of or bits), bits)
        return lambda: ops.spmm_quantized(csr, rows)

    return prepare


def float32(of: int = 8) -> Prepare:
    """Ours over the same rows, dequantised before the timer."""

    def prepare(setting: Setting) -> Run:
        csr, x = setting.csr, codes_of(setting, of) * scale_of(setting).unsqueeze(1)
        return lambda: ops.spmm(csr, x)

    return prepare


def byte_rowwise(index: str) -> Prepare:
    """FBGEMM's kernel as torch carries it: rows of unsigned codes, a scale and a bias."""

    def prepare(setting: Setting) -> Run:
        setting.on_the_cpu()
        scale = scale_of(setting).unsqueeze(1)
        shifted = (codes_of(setting).int() + 128).to(torch.uint8)
        rows = torch.cat([shifted, scale.view(torch.uint8), (-128 * scale).view(torch.uint8)], 1)
        csr, weight, bag = setting.csr, setting.weight, torch.ops.quantized.embedding_bag_byte_rowwise_offsets
        indices, indptr = (csr.indices, csr.indptr) if index == "int32" else (setting.col, setting.indptr)
        return lambda: bag(rows, indices, indptr, False, 0, False, weight, None, True)

    return prepare


def fbgemm_table(setting: Setting) -> Run:
    """FBGEMM's table-batched embedding for inference on the CPU, with one table. Its scales are of half precision."""
    setting.on_the_cpu()
    package = rivals.peer("fbgemm_gpu.split_table_batched_embeddings_ops_inference")
    common = rivals.peer("fbgemm_gpu.split_table_batched_embeddings_ops_common")
    kind = rivals.peer("fbgemm_gpu.split_embedding_configs").SparseType
    spec = ("", setting.csr.cols, setting.width, kind.INT8, common.EmbeddingLocation.HOST)
    table = package.IntNBitTableBatchedEmbeddingBagsCodegen(
        [spec], device="cpu", pooling_mode=common.PoolingMode.SUM, output_dtype=kind.FP32
    )
    table.initialize_weights()
    ((codes, numbers),) = table.split_embedding_weights()
    codes.copy_((codes_of(setting).int() + 128).to(torch.uint8))
    scale = scale_of(setting)
    numbers.copy_(torch.stack([scale, -128 * scale], 1).half().view(torch.uint8))
    csr, weight = setting.csr, setting.weight
    return lambda: table(csr.indices, csr.indptr, weight)


def int_weights(setting: Setting) -> torch.Tensor:
    random = torch.Generator(setting.device).manual_seed(1)
    return torch.randint(-128, 128, (setting.csr.nnz,), generator=random, device=setting.device, dtype=torch.int8)


def whole_numbers(setting: Setting) -> Run:
    csr, codes, weight = setting.csr, codes_of(setting), int_weights(setting)
    return lambda: ops.spmm_int32(csr, codes, weight)


def whole_numbers_in_float32(setting: Setting) -> Run:
    csr, x = setting.csr.with_weight(int_weights(setting).float()), codes_of(setting).float()
    return lambda: ops.spmm(csr, x)


EIGHT_BITS: dict[str, Prepare] = {
    suite.OURS: ours(),
    "byte_rowwise": byte_rowwise("int32"),
    "byte_rowwise int64": byte_rowwise("int64"),
    "fbgemm table": fbgemm_table,
}
SIZES = (64, 128, 256)
LARGE, LARGEST = ("power-law",), ("power-law-10m",)

FAMILIES = [
    suite.Family("spmm 8 bits", suite.Target(1.0, 1.0), EIGHT_BITS, (64,), graphs=("gowalla",)),
    suite.Family("spmm 8 bits, wide", suite.Target(2.0, 2.0), EIGHT_BITS, (128, 256), graphs=("gowalla",)),
    suite.Family("spmm 8 bits, large graph", suite.Target(1.8, 1.8), EIGHT_BITS, SIZES, graphs=LARGE),
    suite.Family(
        "spmm 8 bits beside float32",
        suite.Target(2.0, 2.0),
        {suite.OURS: ours(), "float32": float32()},
        SIZES,
        graphs=LARGE,
        cuda_target=suite.Target(2.0, 2.0),
        cuda_graphs=LARGEST,
    ),
    suite.Family(
        "spmm 4 bits beside 8",
        suite.Target(1.2, 1.2),
        {suite.OURS: ours(4), "8 bits": ours(8, of=4)},
        SIZES,
        graphs=LARGE,
        cuda_graphs=LARGEST,
    ),
    suite.Family(
        "spmm 2 bits beside 8",
        None,
        {suite.OURS: ours(2), "8 bits": ours(8, of=2)},
        SIZES,
        graphs=LARGE,
        cuda_graphs=LARGEST,
    ),
    suite.Family(
        "spmm_int32 beside float32",
        None,
        {suite.OURS: whole_numbers, "float32": whole_numbers_in_float32},
        SIZES,
    ),
]


def bench_spmm_quantized(benchmark: Any, turn: suite.Turn) -> None:
    suite.measure(benchmark, turn)
