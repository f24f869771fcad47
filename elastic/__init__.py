"""The elastic encoder, and how sub-networks of it are chosen and trained.

In scope: reading checkpoints of a family, the search space, importance of heads and neurons, the
masked and the extracted sub-network, its error, the search for one that fits a budget, training
recipes. Out of scope: predicting latency, timing, exporting, which the search uses but does not do.
"""
