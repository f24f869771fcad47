"""Reconstruction: weights of a cut sub-layer, in closed form, that make up for what was cut.

In scope: least squares on Gram matrices of real inputs: the order in which units go, what every sub-layer
could be at every size, and the bottom-up refit of a finished sub-network. Out of scope: what is kept,
which the search decides. Nothing is trained: no learning rate, no labels.
"""
