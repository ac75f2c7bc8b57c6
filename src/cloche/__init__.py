"""cloche: a container engine in pure Python that you can see through.

    import cloche

    result = cloche.run(["sh", "-c", "hostname; id -u"])
    print(result.stdout, result.reason, result.receipt)

Names are loaded when they are first used, so that the command line and the stage, which live in
this package too, do not pay for them.
"""

from __future__ import annotations

__version__ = "0.1.0"
