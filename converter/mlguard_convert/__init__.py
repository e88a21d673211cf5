"""The converter: a notebook becomes a package that computes the same values.

`exporting.export` is the one function behind the command line, JupyterLab, `%guard export` and nbconvert.
"""
