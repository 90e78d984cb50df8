"""Other packages' names over these ops, so that a project swaps an import line and nothing else."""
