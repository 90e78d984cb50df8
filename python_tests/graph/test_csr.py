"""CSR: made from what people have, checked once, and clear about what is wrong."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gnas_ext import CSR, ops
from python_tests import graphs

if TYPE_CHECKING:
    from collections.abc import Callable

INDEX_TYPES = (torch.int32, torch.int64)
INDPTR, INDICES, WEIGHT = torch.tensor([0, 2, 2, 5]), torch.tensor([0, 3, 1, 1, 2]), torch.arange(1.0, 6.0)
DENSE = np.array([[1, 0, 0, 2], [0, 0, 0, 0], [0, 7, 5, 0]], dtype=np.float32)  # 7: the two entries at (2, 1)


def dense(csr: CSR) -> np.ndarray[Any, np.dtype[Any]]:
    """What the matrix is, by scipy; entries at one place add up."""
    weight = np.ones(csr.nnz, np.float32) if csr.weight is None else csr.weight.detach().numpy()
    arrays = (weight, csr.indices.numpy(), csr.indptr.numpy())
    return scipy.sparse.csr_array(arrays, shape=csr.shape).toarray()


def sample() -> CSR:
    return CSR(INDPTR.clone(), INDICES.clone(), WEIGHT.clone(), (3, 4))


def test_says_its_sizes() -> None:
    csr = sample()
    assert (csr.rows, csr.cols, csr.nnz, csr.shape) == (3, 4, 5, (3, 4))
    assert csr.device == torch.device("cpu")
    assert csr.degree().tolist() == [2, 0, 3]
    assert csr.row_index().tolist() == [0, 0, 2, 2, 2]
    assert repr(csr) == "CSR(shape=(3, 4), nnz=5, index=int64, weight=float32, device=cpu)"


def test_has_the_columns_that_the_largest_index_asks_for() -> None:
    assert CSR(INDPTR, INDICES).shape == (3, 4)
    assert CSR(torch.tensor([0, 0]), torch.tensor([], dtype=torch.int64)).shape == (1, 0)


@pytest.mark.parametrize("index", INDEX_TYPES)
def test_from_coo_sorts_by_row_and_keeps_the_order_within(index: torch.dtype) -> None:
    row, col = torch.tensor([2, 0, 2, 2, 0], dtype=index), torch.tensor([1, 3, 2, 1, 0], dtype=index)
    csr = CSR.from_coo(row, col, torch.tensor([3.0, 2.0, 5.0, 4.0, 1.0]), (3, 4))
    assert csr.indptr.dtype == csr.indices.dtype == index
    assert csr.indices.tolist() == [3, 0, 1, 2, 1]
    assert csr.weight is not None
    assert csr.weight.tolist() == [2, 1, 3, 5, 4]
    np.testing.assert_array_equal(dense(csr), DENSE)


def test_from_coo_sorts_a_weight_a_head() -> None:
    csr = CSR.from_coo(torch.tensor([1, 0]), torch.tensor([0, 0]), torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert csr.weight is not None
    assert csr.weight.tolist() == [[3, 4], [1, 2]]


def test_from_coo_has_the_shape_that_the_largest_indices_ask_for() -> None:
    assert CSR.from_coo(torch.tensor([4, 0]), torch.tensor([1, 2])).shape == (5, 3)
    nothing = torch.tensor([], dtype=torch.int32)
    assert CSR.from_coo(nothing, nothing).shape == (0, 0)


def test_from_coo_passes_gradients_on_to_the_weights() -> None:
    weight = torch.tensor([3.0, 2.0], requires_grad=True)
    csr = CSR.from_coo(torch.tensor([1, 0]), torch.tensor([0, 0]), weight)
    ops.spmm(csr, torch.tensor([[10.0]])).mul(torch.tensor([[1.0], [2.0]])).sum().backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    assert weight.grad.tolist() == [20, 10]


def test_from_edge_index_gathers_what_arrives_at_each_node() -> None:
    edge_index = torch.tensor([[0, 0, 3], [1, 2, 1]])  # 0 -> 1, 0 -> 2, 3 -> 1
    csr = CSR.from_edge_index(edge_index, torch.tensor([1.0, 2.0, 3.0]))
    assert csr.shape == (4, 4)
    x = torch.tensor([[1.0], [10.0], [100.0], [1000.0]])
    assert ops.spmm(csr, x).flatten().tolist() == [0, 3001, 2, 0]
    assert CSR.from_edge_index(edge_index, nodes=9).shape == (9, 9)


@pytest.mark.parametrize("kind", [scipy.sparse.csr_array, scipy.sparse.coo_matrix, scipy.sparse.csc_array])
def test_from_scipy(kind: Callable[..., Any]) -> None:
    csr = CSR.from_scipy(kind(DENSE))
    assert csr.shape == (3, 4)
    assert csr.indptr.dtype == torch.int32
    np.testing.assert_array_equal(dense(csr), DENSE)


@pytest.mark.parametrize("index", INDEX_TYPES)
@pytest.mark.filterwarnings("ignore:Sparse")
def test_from_torch_csr(index: torch.dtype) -> None:
    matrix = torch.sparse_csr_tensor(INDPTR.to(index), INDICES.to(index), WEIGHT, (3, 4), check_invariants=False)
    csr = CSR.from_torch(matrix)
    assert csr.indptr.dtype == index
    np.testing.assert_array_equal(dense(csr), DENSE)


def test_from_torch_coo() -> None:
    csr = CSR.from_torch(torch.from_numpy(DENSE).to_sparse())
    assert csr.nnz == 4
    np.testing.assert_array_equal(dense(csr), DENSE)


@pytest.mark.parametrize("name", graphs.SMALL)
def test_transposing_twice_gives_the_matrix_back(name: str) -> None:
    graph = graphs.make(name)
    csr = graph.with_weight(torch.arange(graph.nnz, dtype=torch.float64))
    np.testing.assert_array_equal(dense(csr.t()), dense(csr).T)
    assert csr.t().shape == (csr.cols, csr.rows)
    np.testing.assert_array_equal(dense(csr.t().t()), dense(csr))


def test_the_transpose_has_the_weights_of_now() -> None:
    csr = sample()
    csr.t()
    assert csr.weight is not None
    csr.weight.mul_(-3)
    np.testing.assert_array_equal(dense(csr.t()), -3 * DENSE.T)


def test_the_structure_of_the_transpose_is_computed_once() -> None:
    csr = sample()
    first = csr.t()
    assert csr.t().indices is first.indices
    assert csr.with_weight(None).t().indices is first.indices


@pytest.mark.parametrize("name", graphs.SMALL)
def test_other_weights_on_a_transpose_do_not_sort_it_again(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = graphs.make(name)
    t = graph.t()
    monkeypatch.setattr("gnas_ext.graph.csr.transpose", pytest.fail)
    other = t.with_weight(torch.arange(graph.nnz, dtype=torch.float64))
    assert other.edge is None
    np.testing.assert_array_equal(dense(other.t()), dense(other).T)
    assert torch.equal(other.t().indices, graph.indices)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), max_size=40), st.sampled_from(INDEX_TYPES))
def test_any_entries_and_back(entries: list[tuple[int, int]], index: torch.dtype) -> None:
    row, col = torch.tensor(entries, dtype=index).reshape(-1, 2).T
    expected = np.zeros((7, 10))
    np.add.at(expected, (row.numpy(), col.numpy()), np.arange(len(entries)))
    csr = CSR.from_coo(row, col, torch.arange(len(entries), dtype=torch.float64), (7, 10))
    np.testing.assert_array_equal(dense(csr), expected)
    np.testing.assert_array_equal(dense(csr.t()), expected.T)
    assert torch.equal(csr.row_index(), row.sort(stable=True).values)


def test_to_another_dtype_changes_the_weights_only() -> None:
    csr = sample().to(dtype=torch.bfloat16)
    assert csr.weight is not None
    assert csr.weight.dtype == torch.bfloat16
    assert csr.indptr.dtype == torch.int64
    assert sample().with_weight(None).to(dtype=torch.float64).weight is None


def test_to_another_device_takes_the_transpose_along() -> None:
    csr = sample()
    csr.t()
    there = csr.to("meta")
    assert there.device.type == "meta"
    assert there.weight is not None
    assert there.weight.device.type == "meta"
    assert all(part is not None and part.device.type == "meta" for part in there.transposed_structure())


def test_other_weights_share_the_entries() -> None:
    csr = sample()
    other = csr.with_weight(torch.full((5,), 2.0, dtype=torch.float64))
    assert other.indptr is csr.indptr
    assert dense(other).sum() == 10
    assert csr.with_weight(None).weight is None
    np.testing.assert_array_equal(dense(csr), DENSE)


def test_strided_arrays_are_taken() -> None:
    csr = CSR(torch.stack([INDPTR, INDPTR], 1)[:, 0], torch.stack([INDICES, INDICES], 1)[:, 0], WEIGHT.flip(0).flip(0))
    assert torch.equal(ops.spmm(csr, torch.ones(4, 1)), torch.tensor([[3.0], [0.0], [12.0]]))


def test_a_copy_is_independent() -> None:
    csr = sample()
    twin = copy.deepcopy(csr)
    assert csr.weight is not None
    csr.weight.zero_()
    np.testing.assert_array_equal(dense(twin), DENSE)


LONG = torch.int64
REFUSED: dict[str, tuple[type[Exception], str, Callable[[], CSR]]] = {
    "float indptr": (
        TypeError,
        "CSR: expected indptr and indices both in int32 or both in int64, got torch.float32 and torch.int64",
        lambda: CSR(INDPTR.float(), INDICES),
    ),
    "two index types": (
        TypeError,
        "CSR: expected indptr and indices both in int32 or both in int64, got torch.int64 and torch.int32",
        lambda: CSR(INDPTR, INDICES.int()),
    ),
    "no row pointer": (
        ValueError,
        "CSR: expected indptr of shape [rows + 1], got [0]",
        lambda: CSR(INDPTR[:0], INDICES[:0]),
    ),
    "indices in a matrix": (
        ValueError,
        "CSR: expected indices of shape [nnz], got [1, 5]",
        lambda: CSR(INDPTR, INDICES.unsqueeze(0)),
    ),
    "rows that are not there": (
        ValueError,
        "CSR: expected indptr of shape [6] for 5 rows, got [4]",
        lambda: CSR(INDPTR, INDICES, None, (5, 4)),
    ),
    "a negative size": (
        ValueError,
        "CSR: expected a shape of two sizes of 0 or more, got (3, -1)",
        lambda: CSR(INDPTR, INDICES, None, (3, -1)),
    ),
    "a beginning that is not 0": (
        ValueError,
        "CSR: indptr[0] is 1, expected 0",
        lambda: CSR(torch.tensor([1, 2, 2, 5]), INDICES),
    ),
    "row pointers that fall": (
        ValueError,
        "CSR: indptr decreases after row 1: indptr[1] is 4, indptr[2] is 2",
        lambda: CSR(torch.tensor([0, 4, 2, 5]), INDICES),
    ),
    "row pointers that end early": (
        ValueError,
        "CSR: indptr ends at 4, but there are 5 indices",
        lambda: CSR(torch.tensor([0, 2, 2, 4]), INDICES),
    ),
    "a column that is too large": (
        ValueError,
        "CSR: indices[1] is 3, but the shape has 3 columns",
        lambda: CSR(INDPTR, INDICES, None, (3, 3)),
    ),
    "a negative column": (
        ValueError,
        "CSR: indices[2] is -7, but the shape has 4 columns",
        lambda: CSR(INDPTR, torch.tensor([0, 3, -7, 1, 2]), None, (3, 4)),
    ),
    "integer weights": (
        TypeError,
        "CSR: expected weight in float32, float64, bfloat16 or float16, got torch.int64",
        lambda: CSR(INDPTR, INDICES, WEIGHT.long()),
    ),
    "too few weights": (
        ValueError,
        "CSR: expected weight of shape [5], one an entry, or [5, heads], got [4]",
        lambda: CSR(INDPTR, INDICES, WEIGHT[1:]),
    ),
    "too few other weights": (
        ValueError,
        "CSR: expected weight of shape [5], one an entry, or [5, heads], got [1, 5]",
        lambda: sample().with_weight(WEIGHT.unsqueeze(0)),
    ),
    "weights elsewhere": (
        ValueError,
        "CSR: indptr is on cpu, weight on meta: move one with .to()",
        lambda: CSR(INDPTR, INDICES, WEIGHT.to("meta")),
    ),
    "indices elsewhere": (
        ValueError,
        "CSR: indptr is on cpu, indices on meta: move one with .to()",
        lambda: CSR(INDPTR, INDICES.to("meta")),
    ),
    "coo: lengths": (
        ValueError,
        "CSR.from_coo: expected row and col of one shape [nnz], got [4] and [5]",
        lambda: CSR.from_coo(INDPTR, INDICES),
    ),
    "coo: dtypes": (
        TypeError,
        "CSR.from_coo: expected row and col both in int32 or both in int64, got torch.int64 and torch.int32",
        lambda: CSR.from_coo(INDICES, INDICES.int()),
    ),
    "coo: a row that is too large": (
        ValueError,
        "CSR.from_coo: row[1] is 3, but the shape has 3 rows",
        lambda: CSR.from_coo(INDICES, INDICES, None, (3, 4)),
    ),
    "coo: a negative row": (
        ValueError,
        "CSR.from_coo: row[2] is -1, but the shape has 2 rows",
        lambda: CSR.from_coo(torch.tensor([1, 0, -1]), torch.tensor([0, 0, 0])),
    ),
    "coo: a column that is too large, by its place before sorting": (
        ValueError,
        "CSR.from_coo: col[0] is 9, but the shape has 4 columns",
        lambda: CSR.from_coo(torch.tensor([2, 1, 0]), torch.tensor([9, 1, 2]), None, (3, 4)),
    ),
    "coo: too many weights": (
        ValueError,
        "CSR.from_coo: expected weight of shape [3], got [5]",
        lambda: CSR.from_coo(torch.tensor([2, 1, 0]), torch.tensor([0, 1, 2]), WEIGHT),
    ),
    "edge_index lies on its side": (
        ValueError,
        "CSR.from_edge_index: expected edge_index of shape [2, edges], got [5, 2]",
        lambda: CSR.from_edge_index(torch.zeros(5, 2, dtype=LONG)),
    ),
    "a dense matrix": (
        ValueError,
        "CSR.from_torch: expected a two-dimensional sparse CSR or COO tensor, got torch.strided of shape [3, 4]",
        lambda: CSR.from_torch(torch.from_numpy(DENSE)),
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_names_the_entry_that_is_wrong(case: str) -> None:
    kind, message, make = REFUSED[case]
    with pytest.raises(kind) as error:
        make()
    assert str(error.value) == message
