"""Several devices and processes: the mesh, collectives, preemption, and joining the others."""
