"""The default seccomp profile in the running kernel: every system call asked for, none of them made.

A child carries two filters, and every probe has a mark in its sixth argument:

    the filter under test      ERRNO(e) or ALLOW
    the one that stands guard  USER_NOTIF for the mark, ALLOW for everything else

The kernel takes the strictest answer, ERRNO before USER_NOTIF before ALLOW. So a refused probe comes
back with its errno at once, and an allowed one waits for the parent, which sends it back with ALLOWED.
Calls without the mark are Python's own and go through.
"""

from __future__ import annotations

import ctypes
import importlib.util
import marshal
import mmap
import os
import resource
import select
import signal
import socket
import threading
from pathlib import Path
from types import ModuleType

import pytest

from cloche.linux import kernel, process, seccomp
from cloche.runtime.seccomp import default, syscalls
from cloche.runtime.seccomp.compile import Filter
from cloche.runtime.seccomp.default import default_filter, default_profile

from .forked import clone, ended, in_child

ARCH = kernel.MACHINE
ALLOWED = 1234  # an errno that no call has
MARK = 0x5EC0_0B5E_C0DE_FACE
CAPABILITIES = {
    "none": frozenset[str](),
    "podman": frozenset({"CAP_CHOWN", "CAP_SYS_CHROOT", "CAP_KILL"}),
    "admin": frozenset({"CAP_SYS_ADMIN", "CAP_SYS_CHROOT"}),
    "all": frozenset(name for name, _ in default.GRANTS) | {"CAP_AUDIT_WRITE"},
}
Probe = tuple[int, tuple[int, ...]]

pytestmark = pytest.mark.skipif(ARCH not in syscalls.ARCHITECTURES, reason="the filter is for x86_64 and aarch64 only")


def _interpreter() -> ModuleType:
    """The interpreter and the evaluator of the unit tests."""
    path = Path(__file__).parents[1] / "unit" / "seccomp" / "bpf.py"
    spec = importlib.util.spec_from_file_location("seccomp_interpreter", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


bpf = _interpreter()


def guard() -> bytes:
    """USER_NOTIF for calls with MARK as their sixth argument, ALLOW for all others."""
    low, high = MARK & 0xFFFFFFFF, MARK >> 32
    code = [(0x20, 0, 0, 56), (0x15, 0, 3, low), (0x20, 0, 0, 60), (0x15, 0, 1, high),
            (0x06, 0, 0, seccomp.RET_USER_NOTIF), (0x06, 0, 0, seccomp.RET_ALLOW)]  # fmt: skip
    return b"".join((op | yes << 16 | no << 24 | k << 32).to_bytes(8, "little") for op, yes, no, k in code)


def probes() -> list[Probe]:
    """Every number, those of x32 and impossible ones; for calls with conditions, many arguments."""
    numbers = [*range(600), *range(0x40000000, 0x40000240, 7), 0x3FFFFFFF, 0x7FFFFFFF, -1, -2, -(2**31)]
    # The kernel lets these past every filter, and asking for them outside of a probe is SIGILL.
    past_filters = {syscalls.number(name, ARCH) for name in ("uretprobe", "uprobe")}
    found: list[Probe] = [(nr, (0,) * 5) for nr in numbers if nr not in past_filters]
    values = (*bpf.EDGES, 8, 9, 16, 38, 39, 40, 41, 0x5412, 0x5413, 0x541C, 0x20000, 0x20008, 0x10000000,
              (1 << 32) + 38, (1 << 32) + 0x5412, (1 << 63) + 40)  # fmt: skip
    for name in default.CONDITIONAL:
        nr = syscalls.number(name, ARCH)
        found += [(nr, (value, 0, 0, 0, 0)) for value in values]
        found += [(nr, (0, value, 0, 0, 0)) for value in values]
        found += [(nr, (value, 0, third, 0, 0)) for value in values for third in (9, (1 << 32) + 9)]
    return found


def ask(nr: int, args: tuple[int, ...]) -> int:
    """The errno of one probe, or 0."""
    try:
        kernel.call("probe", nr, *args, MARK)
    except OSError as error:
        return error.errno or 0
    return 0


def answers(compiled: Filter, asked: list[Probe]) -> list[int]:
    """What the kernel says to each probe under a filter: ALLOWED or an errno."""
    ours, childs = socket.socketpair()

    def child() -> int:
        process.die_with_parent()
        process.set_no_new_privs()
        listener = seccomp.load(guard(), seccomp.FLAG_NEW_LISTENER)
        socket.send_fds(childs, [b"!"], [listener])
        os.close(listener)
        assert seccomp.load(compiled.program, compiled.flags) == 0
        childs.sendall(marshal.dumps([ask(nr, args) for nr, args in asked]))
        return 0

    with ours, childs:
        pid, pidfd = clone(0, child)
        childs.close()
        _, (listener, *_), _, _ = socket.recv_fds(ours, 1, 1)
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        poll.register(ours, select.POLLIN)
        data = b""
        try:
            while True:
                ready = dict(poll.poll(10_000))
                assert ready, "the child is stuck"
                if ready.get(listener, 0) & select.POLLIN:
                    waiting = seccomp.notify_receive(listener)
                    assert (waiting.pid, waiting.args[5]) == (pid, MARK)
                    seccomp.notify_respond(listener, waiting.id, error=ALLOWED)
                elif ours.fileno() in ready:
                    piece = ours.recv(1 << 16)
                    if not piece:
                        break
                    data += piece
        finally:
            os.close(listener)
        assert ended(pidfd) == (os.CLD_EXITED, 0)
    results: list[int] = marshal.loads(data)
    return results


@pytest.mark.parametrize("who", CAPABILITIES)
def test_the_kernel_decides_as_the_profile_says(who: str) -> None:
    compiled = default_filter(CAPABILITIES[who], ARCH)
    document = default_profile(CAPABILITIES[who], ARCH)
    code = bpf.decode(compiled.program)
    asked = probes()
    results = answers(compiled, asked)
    assert len(results) == len(asked)
    for (nr, args), result in zip(asked, results, strict=True):
        said = seccomp.RET_ALLOW if result == ALLOWED else seccomp.RET_ERRNO | result
        expected = bpf.verdict(document, nr, args, ARCH, hide_x32=True)
        assert said == expected == bpf.run(code, nr, args, bpf.AUDIT_ARCH[ARCH]), (nr, syscalls.name(nr, ARCH), args)
    assert results.count(ALLOWED) > 300


def test_programs_run_under_it() -> None:
    script = "set -e; (echo one; sleep 0.01) | cat; mkdir d; echo two >d/f; cat d/f; rm -r d; ulimit -n >/dev/null"

    def child(directory: str = os.environ.get("TMPDIR", "/tmp")) -> str:
        import subprocess
        import tempfile

        with tempfile.TemporaryDirectory(dir=directory) as here:
            process.set_no_new_privs()
            compiled = default_filter(CAPABILITIES["podman"], ARCH)
            seccomp.load(compiled.program, compiled.flags)
            thread = threading.Thread(target=lambda: None)
            thread.start()
            thread.join()
            return subprocess.run(["sh", "-c", script], cwd=here, capture_output=True, text=True, check=True).stdout

    assert in_child(child) == "one\ntwo\n"


def test_a_refused_call_can_be_reported_and_answered() -> None:
    compiled = default_filter(CAPABILITIES["podman"], ARCH, notify_denied=True)
    unshare = syscalls.number("unshare", ARCH)
    ours, childs = socket.socketpair()

    def child() -> int:
        process.die_with_parent()
        process.set_no_new_privs()
        listener = seccomp.load(compiled.program, compiled.flags)
        socket.send_fds(childs, [b"!"], [listener])
        os.close(listener)
        try:
            kernel.call("unshare", unshare, 0x10000000)
        except OSError as error:
            return error.errno or 0
        return 0

    with ours, childs:
        _, pidfd = clone(0, child)
        _, (listener, *_), _, _ = socket.recv_fds(ours, 1, 1)
        assert select.select([listener], [], [], 10)[0]
        waiting = seccomp.notify_receive(listener)
        seccomp.notify_respond(listener, waiting.id, error=compiled.refusals[waiting.nr])
        assert (waiting.nr, waiting.args[0]) == (unshare, 0x10000000)
        assert ended(pidfd) == (os.CLD_EXITED, 1)
        os.close(listener)


@pytest.mark.skipif(ARCH != "x86_64", reason="int 0x80 is x86's")
def test_a_32_bit_call_kills() -> None:
    def victim(*, filtered: bool) -> int:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        # mov eax, 20 (getpid on i386); int 0x80; ret
        with mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) as memory:
            memory.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
            function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(memory)))
            if filtered:
                process.set_no_new_privs()
                compiled = default_filter(CAPABILITIES["none"], ARCH)
                seccomp.load(compiled.program, compiled.flags)
            os._exit(0 if function() == os.getpid() else 1)

    def attempt(*, filtered: bool) -> tuple[int, int]:
        return ended(clone(0, lambda: victim(filtered=filtered))[1])

    if in_child(lambda: attempt(filtered=False)) != (os.CLD_EXITED, 0):
        pytest.skip("this kernel has no 32-bit calls (CONFIG_IA32_EMULATION)")
    assert in_child(lambda: attempt(filtered=True)) == (os.CLD_KILLED, signal.SIGSYS)
