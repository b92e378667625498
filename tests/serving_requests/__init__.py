"""Bad requests and what a server answers to each; sent in process and over the wire."""
