"""What every package shares: errors, problems, parsers of single values and YAML, suggestions, small system helpers.

Text, files and names go in; typed values, :class:`~pilotage.core.problems.Problem` values and exceptions come out.
It must not import any other package of pilotage or know what a container, a label or a route is.
"""
