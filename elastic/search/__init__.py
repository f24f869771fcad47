"""From an elastic encoder and a cost table to the sub-network that fits a budget.

In scope: the error of every module at every size, the exact decoding against a cost table, the loop
that deploys, measures and corrects. Out of scope: how latency is predicted or measured.
"""
