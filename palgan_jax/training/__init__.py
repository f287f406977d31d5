"""Training: the loop, the step, the state, and what is logged and drawn on the way."""
