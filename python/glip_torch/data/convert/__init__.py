"""Converters: other layouts of training data to the grounding format, and between its files and shards.

A converter yields records and reports to a `Report` what it had to leave out; `__main__` of the package above is the command.
"""
