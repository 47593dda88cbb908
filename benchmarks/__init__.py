"""Measurements of the toolkit, against a hand-written floor and against other libraries: `python -m
benchmarks`.
"""
