"""One file per verb of a model's life, and the contract that they keep (`contract`)."""
