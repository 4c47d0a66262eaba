"""The commands of the command line, one module each.

A command parses its options, calls the library, and prints. May import everything.
"""
