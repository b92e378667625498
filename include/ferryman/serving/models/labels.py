"""The names under which the loaded versions of a model may be asked."""

CHAMPION = "champion"
PREVIOUS = "previous"
CANDIDATE = "candidate"
# Who answers where a candidate that was drawn could not: the champion, and it is no success of its.
FALLBACK = "fallback"
# In the order in which versions are told of: the one that is served first.
LABELS = (CHAMPION, CANDIDATE, PREVIOUS)
