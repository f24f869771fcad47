"""Reconstruction: weights of a cut sub-layer, in closed form, that make up for what was cut.

In scope: least squares on Gram matrices of real inputs. Out of scope: what is kept, which the search
decides. Nothing is trained: no gradient, no learning rate, no labels.
"""
