"""Content: where the files of a container's root come from.

    host      this machine's own system, with its secrets left out

What does not belong here: mounting (the stage does), deciding options (`sandbox`).
"""
