"""PyG's layers on these ops: the loop stays as it is, and so do a trained model's weights. Which group is a node of?"""

from __future__ import annotations

import torch
from torch.nn import functional

from gnas_ext.nn import GATConv, GCNConv  # from torch_geometric.nn import GATConv, GCNConv


class Model(torch.nn.Module):
    """Attention over neighbours, then their mean."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.first = GATConv(width, 8, heads=4)
        self.second = GCNConv(32, groups)

    def forward(self, x: torch.Tensor, edge_index: torch.Tensor) -> torch.Tensor:
        """One row of scores a node."""
        return self.second(functional.elu(self.first(x, edge_index)), edge_index)  # type: ignore[no-any-return]


def train(x: torch.Tensor, edge_index: torch.Tensor, y: torch.Tensor, steps: int = 60) -> tuple[list[float], float]:
    """The loss of each step on every other node, and the share of the nodes between that come out right."""
    model, seen = Model(x.shape[1], 2), torch.arange(len(x)) % 2 == 0
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(x, edge_index)[seen], y[seen])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        found = model.eval()(x, edge_index).argmax(1)
    return losses, float((found == y)[~seen].float().mean())


if __name__ == "__main__":
    torch.manual_seed(0)
    group = torch.randint(0, 2, (300,))
    ends = torch.randint(0, 300, (2, 12_000))
    # An edge is nine times as likely within a group as between the two; the features alone say little.
    kept = torch.rand(12_000) < torch.where(group[ends[0]] == group[ends[1]], 0.9, 0.1)
    features = torch.randn(300, 8) + 0.3 * group.unsqueeze(1)
    loss, right = train(features, ends[:, kept], group)
    print(f"loss {loss[0]:.3f} -> {loss[-1]:.3f}, {right:.0%} of the other nodes right")
