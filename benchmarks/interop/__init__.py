"""PyTorch's networks through every way in: what converts, how faithfully, and whether the ways agree."""
