"""What is deployed, and how it becomes a file that a runtime loads.

In scope: Architecture and its closed-form costs, Workload, Task, Encoder, exporters with their
quantisation, the parity gate, the artifact. Out of scope: elasticity (a sub-network arrives here as
a plain Encoder), timing, predicting, deciding what to deploy.
"""
