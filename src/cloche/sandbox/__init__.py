"""Commands in isolation: options as people write them, run to their end, with a reason and a receipt.

values    sizes, durations, volumes, users: text to numbers, pure
options   everything `run` can be asked, in docker's words
config    options to an OCI config and a request
running   a request carried out, and what came of it
reason    why it ended, from what the kernel counted
api       cloche.run and cloche.run_async
"""
