"""From raw files to immutable, content-addressed snapshots, and the datasets made of them."""
