"""One process that answers: given its connections by a front, or standing alone."""
