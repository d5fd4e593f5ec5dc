"""Networks, paths, targets and densities of times of your own: inputs of every stage that builds a network.

Every other Python file here is imported before the params are read; see CONTRIBUTING.md.
"""
