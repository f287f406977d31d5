"""The networks, losses and weights in PyTorch, and the scripts that make tests/golden; run from the project's root."""
