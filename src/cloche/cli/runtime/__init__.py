"""`cloche-runtime`: bundles, as OCI runtimes take them; the command line is runc's, since engines call that.

main        global options, which verb, errors to stderr and the log
one file per verb (or two that are halves of each other): its table and what it does
"""
