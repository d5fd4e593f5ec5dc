"""Samplers of your own: inputs of the stages that sample, and of none that trains a row.

Every other Python file here is imported before the params are read; see CONTRIBUTING.md.
"""
