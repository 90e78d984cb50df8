from __future__ import annotations

import numpy as np
import pytest
import torch

from gnas_ext.models import FactorModel, Table


def test_int8_rows_are_scale_times_codes() -> None:
    table = Table(torch.tensor([[1, -2], [3, 127]], dtype=torch.int8), torch.tensor([0.5, 2.0]))
    assert table.float().tolist() == [[0.5, -1.0], [6.0, 254.0]]
    assert table.float(torch.tensor([1])).tolist() == [[6.0, 254.0]]


def test_scores_are_dot_products_and_the_prior() -> None:
    user, item, prior = torch.randn(3, 4), torch.randn(5, 4), torch.randn(5)
    scores = FactorModel(Table(user), Table(item), prior).score(np.array([2, 0], dtype=np.int32))
    expected = torch.stack([(user[u] * item).sum(1) + prior for u in (2, 0)])
    torch.testing.assert_close(scores, expected)


def test_bytes_are_counted_with_scales_and_prior() -> None:
    quantised = Table(torch.zeros(5, 4, dtype=torch.int8), torch.ones(5))
    model = FactorModel(Table(torch.zeros(3, 4)), quantised, torch.zeros(5))
    assert model.size_bytes() == 3 * 4 * 4 + 5 * 4 + 5 * 4 + 5 * 4


def test_a_scale_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected scale of shape \[5\], got \[4\]"):
        Table(torch.zeros(5, 4, dtype=torch.int8), torch.ones(4))


@pytest.mark.parametrize(
    ("rows", "scale"),
    [(torch.zeros(5, 4, dtype=torch.int8), None), (torch.zeros(5, 4), torch.ones(5))],
    ids=["codes without a scale", "floats with one"],
)
def test_codes_and_scales_belong_together(rows: torch.Tensor, scale: torch.Tensor | None) -> None:
    with pytest.raises(TypeError, match="a scale, got"):
        Table(rows, scale)
