"""The command line: what a person types, turned into calls, and what they read back.

    grammar.py      the words of a command line: options, verbs, and the parser
    options.py      which verbs there are, and the options that stand before them
    options_*.py    the tables: one list of options per verb, and nothing but data
    help.py         the tables as `--help`
    manual.py       the tables as man pages
    completion*.py  the tables as completion scripts for bash, zsh and fish
    output.py       the only way for names and messages to reach a terminal

Nothing is imported from here: `cloche run` pays for the parser and for its own table, no more.
"""
