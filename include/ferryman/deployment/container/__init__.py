"""A server as containers of this machine's engine, hardened, behind a front."""
