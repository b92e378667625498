"""What is kept for ever: snapshots, datasets, publications, pins, and how two versions differ."""
