"""Figures of this package, each a command: ``python -m benchmarks.NAME``. Peers are measured in the same run.

Absolute times say more about the machine than about the code, so goals are ratios. Each command ends with one
line per figure, ``NAME VALUE UNIT goal GOAL met|missed``, keeps its results in ``benchmarks/results``, and exits
with 1 when a goal is missed.
"""
