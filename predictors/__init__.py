"""Latency predictors: from an architecture and a workload to milliseconds with an interval.

In scope: features in closed form, the fit and its evidence, prediction with numpy alone, the cost
table that a search consumes, and the choice of what to measure. Out of scope: taking a measurement
(profiler) and choosing an architecture (elastic).
"""
