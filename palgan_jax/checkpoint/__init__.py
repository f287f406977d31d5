"""Checkpoints of runs (Orbax), one-file weights (safetensors), and what can be read from them."""
