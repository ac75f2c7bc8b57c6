"""Content: where the files of a container's root come from.

    host       this machine's own system, with its secrets left out
    registry   what a registry is asked      pulling, pushing, fetching: with the store
    store      names, blobs, layers          local, listing, removing: what is in it
    unpack     from a blob to files          archives: save and load

What does not belong here: mounting (the stage does), deciding options (`sandbox`).
"""
