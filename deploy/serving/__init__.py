"""Serving: an artifact behind a protocol, and in the directories that model servers load.

In scope: answering requests, laying out files. Out of scope: making or proving artifacts.
"""
