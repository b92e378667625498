"""`python -m ferryman.cli` is the `ferryman` command."""

from ferryman.cli.main import main

main()
