"""The command line's grammar and everything that is made from its tables."""
