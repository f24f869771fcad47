"""The embedded default of ``cutonce demo``: a real task made from what Python itself ships."""
