"""The least that unpacking layers can cost here: decompression by isal, SHA-256 of both sides, files by GNU tar.

    benchmarks/unfold.py [--synced] FOLDER BLOB...   each blob (gzip) into a folder of its own; two at a time

Nothing is checked, and nothing is waited for until it is on the disk unless that is asked for.
"""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from isal import igzip_lib

CHUNK = 1 << 16
AT_ONCE = 2
BLOCK = 512
PIPE = 1 << 20


def unfold(blob: Path, folder: Path) -> None:
    """Unpack one layer, in another interpreter: `python unfold.py --one FOLDER BLOB`."""
    folder.mkdir(parents=True)
    subprocess.run([sys.executable, __file__, "--one", str(folder), str(blob)], check=True)


def one(folder: str, blob: str) -> None:
    """Unpack one layer into a folder that is there."""
    stored, unfolded = hashlib.sha256(), hashlib.sha256()
    length = 0
    source = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
    with subprocess.Popen(["tar", "-xf", "-", "-C", folder], stdin=subprocess.PIPE) as tar, open(blob, "rb", 0) as file:
        assert tar.stdin is not None
        fcntl.fcntl(tar.stdin, fcntl.F_SETPIPE_SZ, PIPE)
        while not source.eof:
            data = file.read(CHUNK) if source.needs_input else b""
            stored.update(data)
            out = source.decompress(data, CHUNK * 4)
            unfolded.update(out)
            tar.stdin.write(out)
            length += len(out)
        tar.stdin.write(bytes(-length % BLOCK + 2 * BLOCK))  # umoci does not end its archives, and tar wants that
    if tar.returncode:
        raise SystemExit(f"tar: {tar.returncode}")


def main() -> None:
    """Unpack all."""
    if sys.argv[1] == "--one":
        one(sys.argv[2], sys.argv[3])
        return
    synced = sys.argv[1] == "--synced"
    folder, *words = sys.argv[1 + synced :]
    top, blobs = Path(folder), [Path(word) for word in words]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda item: unfold(item[1], top / str(item[0])), enumerate(blobs)))
    if synced:
        subprocess.run(["sync", "-f", folder], check=True)


if __name__ == "__main__":
    main()
