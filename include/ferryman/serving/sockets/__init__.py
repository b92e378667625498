"""Ports, channels, and connections that are handed from process to process."""
