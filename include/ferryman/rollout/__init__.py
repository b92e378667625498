"""What a candidate's share of the traffic has shown: pass, fail, or not decided yet."""
