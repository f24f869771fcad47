"""Where code runs and how it is reached.

In scope: devices and their fingerprints, runtimes that load and run an exported file, targets,
registries, writing files whole, and the one exception tree. Out of scope: what is run (deploy) and
how long it takes (profiler).
"""
