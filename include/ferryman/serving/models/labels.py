"""The names under which the loaded versions of a model may be asked."""

CHAMPION = "champion"
PREVIOUS = "previous"
CANDIDATE = "candidate"
# In the order in which versions are told of: the one that is served first.
LABELS = (CHAMPION, CANDIDATE, PREVIOUS)
