"""What profiling a file costs, against only reading it."""
