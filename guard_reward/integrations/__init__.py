"""Guards inside other people's tools. Each module needs the package that it is named after, and only that one.

Importing them loads no torch: a tool looks for scorers in every installed package.
"""
