"""The `ferryman` command, one module for each group of commands."""
