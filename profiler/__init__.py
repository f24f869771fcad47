"""How a time is taken: agent, campaign, statistics, warnings, store.

In scope: measuring the list it is given, stopping when told, keeping every visit. Out of scope:
what to measure (predictors.planning) and what a time means for a search. The only room that reads
a clock.
"""
