"""Message passing in a training loop of your own: which of two groups does each node belong to?"""

from __future__ import annotations

import torch

from gnas_ext import CSR, ops


def train(edge_index: torch.Tensor, x: torch.Tensor, y: torch.Tensor, steps: int = 100) -> list[float]:
    """Two rounds of mean over neighbours around two linear layers; the loss of each step."""
    graph = CSR.from_edge_index(edge_index, nodes=len(x))  # checked once; its transpose is kept for the backward
    first, second = torch.nn.Linear(x.shape[1], 16), torch.nn.Linear(16, 2)
    optimizer = torch.optim.Adam([*first.parameters(), *second.parameters()], lr=0.02)
    losses = []
    for _ in range(steps):
        hidden = torch.relu(first(ops.spmm(graph, x, "mean")))
        loss = torch.nn.functional.cross_entropy(second(ops.spmm(graph, hidden, "mean")), y)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    return losses


if __name__ == "__main__":
    torch.manual_seed(0)
    group = torch.randint(0, 2, (300,))
    source, target = torch.randint(0, 300, (2, 12_000))
    # An edge is nine times as likely within a group as between the two; the features alone say little.
    kept = torch.rand(12_000) < torch.where(group[source] == group[target], 0.9, 0.1)
    features = torch.randn(300, 8) + 0.3 * group.unsqueeze(1)
    found = train(torch.stack([source, target])[:, kept], features, group)
    print(f"loss {found[0]:.3f} -> {found[-1]:.3f}")
