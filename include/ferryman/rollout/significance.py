"""How often evidence may err, and how few observations say nothing."""

# Of the verdict "failed" of one rule in one stage, over all looks together. Three rules and the
# three stages of the usual canary: a healthy candidate is aborted in fewer than 1 % of rollouts.
FAIL = 0.001
# Of the verdict "passed" at one look: a normal deviate, one-sided 5 %.
PASS = 0.05
Z_PASS = 1.6448536269514722
# That an increase of errors is beyond its limit is likely, where it is proven to be one: 80 %.
Z_LIKELY = 0.8416212335729143
# No rule fails a candidate on fewer: one client that repeats one request is not a proof.
LEAST_REQUESTS = 10
LEAST_ERRORS = 5
LEAST_LATENCIES = 50
LEAST_ROWS = 50
# A shadow that lost more of its copies has not seen what the champion saw.
MOST_LOST = 0.05
