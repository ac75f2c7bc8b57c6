"""The Docker Engine API over HTTP, for clients that speak it: one file per verb, beside the command line.

Nothing is here yet. What will not belong here: any meaning of its own; it translates, and calls what
lies below.
"""
