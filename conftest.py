"""Doctests import every file: those of the modules for escnn are left out where it is not installed."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("escnn") else ["sefl/escnn", "sefl/demo/escnn_figure.py"]
