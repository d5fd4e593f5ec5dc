"""Metrics of your own: inputs of the stages that score, so that a new one trains and samples nothing again.

Every other Python file here is imported before the params are read; see CONTRIBUTING.md.
"""
