"""The tests of pilotage, laid out as the package is: ``src/pilotage/x/y.py`` is tested in ``tests/x/test_y.py``."""
