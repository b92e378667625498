"""What every step stands on: messages, the run store, atomic files, bundles."""
