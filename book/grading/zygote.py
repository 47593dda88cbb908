"""Runs inside the sandbox: imports everything once, then forks a student's kernel whenever it is told to.

A kernel that is forked starts in a tenth of a second, where one that imports torch takes two.  Each forked
kernel gets namespaces of its own on top of the sandbox's: its own processes (when its first one ends, all of
them do), its own empty /tmp, home and shared memory, no capabilities and no way to make further namespaces.
So nothing that a student's code leaves behind is there for the next one, and none of it can reach this
process.

Orders come as JSON lines on stdin, one answer a line on stdout:
{"do": "start", "connection": {...}, "limits": {...}, "kept": [...]} (kept: folders of Python's, and a file,
that lie where the private ones come), {"do": "alive"}, {"do": "interrupt"}, {"do": "end"}.
The standard library only, until `prepare`.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import glob
import json
import os
import pkgutil
import resource
import signal
import stat
import struct
import sys
import tempfile
import time

_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID = 0x00020000, 0x04000000, 0x08000000, 0x10000000, 0x20000000
_NOSUID, _NODEV, _NOEXEC, _READONLY, _REMOUNT, _BIND = 2, 4, 8, 1, 32, 4096
_REC_PRIVATE = 16384 | (1 << 18)
_PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = (
    4, 24, 38, 1, 36,
)  # fmt: skip
_PR_SET_SECCOMP = 22


class Refused(OSError):
    """The system does not allow what a kernel's own namespaces need."""


def _call(name: str, *arguments) -> None:
    """A call of the C library.  Raises Refused when it fails."""
    if getattr(_LIBC, name)(*arguments):
        raise Refused(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")


_LIBC = ctypes.CDLL(None, use_errno=True)


def _prctl(what: int, value: int) -> None:
    """A property of this process that only Linux knows; elsewhere kernels have limits and no more."""
    if sys.platform == "linux":
        _LIBC.prctl(what, value, 0, 0, 0)


_KERNELS = (
    "ipykernel.kernelapp", "ipykernel.debugger", "pdb", "pydoc", "IPython.core.debugger",
    "IPython.core.oinspect", "IPython.core.completerlib", "IPython.core.logger",
    "IPython.extensions.storemagic", "tornado.queues", "tornado.platform.asyncio",
)  # fmt: skip
"""What ipykernel imports while it starts, which is most of the time that it takes."""


def prepare(names: list[str]) -> None:
    """Import what kernels and lessons need; what is not there is left to the student's own import."""
    for name in (*_KERNELS, *names):
        with contextlib.suppress(ImportError, AttributeError):
            pkgutil.resolve_name(name)


class Child:
    """The kernel that runs now: its process, and the process that made its namespaces (or the same)."""

    def __init__(self, order: dict, nested: bool):
        reading, writing = os.pipe()
        self.parent = self.pid = os.fork()
        if self.parent == 0:
            os.close(reading)
            _run(_in_namespaces if nested else _in_this_one, order, writing)
        os.close(writing)
        with os.fdopen(reading) as told:
            first = told.readline()
            self.trouble = told.read() if not first.strip().isdigit() else ""
        if first.strip().isdigit():
            self.pid = int(first)
        else:
            self.trouble = (first + self.trouble).strip() or "it ended at once"
            self.end()

    def alive(self) -> bool:
        if self.parent:
            done, _ = os.waitpid(self.parent, os.WNOHANG)
            if done:
                self.parent = 0
        return bool(self.parent)

    def interrupt(self) -> None:
        """Interrupt the kernel, and kill what it has started, which would go on beside its next cells."""
        if not self.alive():
            return
        os.kill(self.pid, signal.SIGINT)
        for _ in range(100):  # what forks without end is not met as a whole
            left = [pid for pid in _family("self") if pid not in (self.parent, self.pid) and _runs(pid)]
            if not left:
                return
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)

    def end(self) -> None:
        """Kill the kernel; with namespaces of its own everything that it started dies with it."""
        if self.alive():
            os.kill(self.pid, signal.SIGKILL)  # who waits for it then ends by itself
            os.waitpid(self.parent, 0)
            self.parent = 0
        # Without namespaces what it started outlives it and has become ours.
        while left := _children("self"):
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            os.waitpid(-1, 0)


def _children(pid: int | str) -> list[int]:
    """The processes whose parent is this one; none where the system does not list them."""
    found = []
    for path in glob.glob(f"/proc/{pid}/task/*/children"):
        with contextlib.suppress(OSError), open(path) as file:
            found += [int(child) for child in file.read().split()]
    return found


def _family(pid: int | str) -> list[int]:
    """The processes that come from this one."""
    return [one for child in _children(pid) for one in (child, *_family(child))]


def _runs(pid: int) -> bool:
    """Whether a process is there, and not only its exit code that nobody has asked for."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _run(entry, order: dict, writing: int) -> None:
    """The life of a forked process, which never comes back."""
    try:
        _prctl(_PR_SET_DUMPABLE, 1)  # it writes its own id maps, in files of /proc
        entry(order, writing)
    except BaseException as error:
        os.write(writing, f"{type(error).__name__}: {error}".replace("\n", " ").encode())
    finally:
        os._exit(1)


def _in_namespaces(order: dict, writing: int, inside=None) -> None:
    """Make namespaces, fork the kernel (or what is to run instead) into them, and wait for its end."""
    uid, gid = os.getuid(), os.getgid()
    _call("unshare", _NEWUSER | _NEWNS | _NEWPID | _NEWIPC | _NEWUTS)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    pid = os.fork()
    if pid:
        os.write(writing, f"{pid}\n".encode())
        os.close(writing)
        os.waitpid(pid, 0)
        os._exit(0)
    # As the first process of its namespace it takes everything with it; it must not outlive who waits for it.
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _call("mount", b"none", b"/", None, _REC_PRIVATE, None)
    size = f"size={order['limits']['disk']},mode=0700".encode()
    kept = [(os.open(folder, os.O_PATH), folder.encode()) for folder in order.get("kept", ())]
    for folder in (b"/tmp", b"/home/s", b"/dev/shm"):
        _call("mount", b"tmpfs", folder, b"tmpfs", _NOSUID | _NODEV, size)
    for number, folder in kept:
        if stat.S_ISDIR(os.fstat(number).st_mode):
            os.makedirs(folder)
        else:
            os.makedirs(os.path.dirname(folder), exist_ok=True)
            os.close(os.open(folder, os.O_CREAT))
        _call("mount", f"/proc/self/fd/{number}".encode(), folder, None, _BIND | 16384, None)
        _call("mount", b"none", folder, None, _REMOUNT | _BIND | _READONLY | _NOSUID | _NODEV, None)
    with open("/proc/sys/user/max_user_namespaces", "w") as file:
        file.write("0")
    (inside or _kernel)(order, lambda: (_seal(order["connection"]["ip"]), _drop_rights()))


def _in_this_one(order: dict, writing: int) -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # who can be killed by its child leaves none
    os.write(writing, f"{os.getpid()}\n".encode())
    os.close(writing)
    _kernel(order, lambda: None)


def _seal(sockets: str) -> None:
    """Make the folder of the sockets, which lies on the outer disk, read-only: they are there by now."""
    folder = os.path.dirname(sockets).encode()
    _call("mount", folder, folder, None, _BIND, None)
    _call("mount", b"none", folder, None, _REMOUNT | _BIND | _READONLY | _NOSUID | _NODEV, None)
    # For root these are the system's own files still: nobody is to change their modes.
    for device in (b"null", b"zero", b"full", b"random", b"urandom", b"tty"):
        _call("mount", b"none", b"/dev/" + device, None, _REMOUNT | _BIND | _READONLY | _NOSUID, None)


def _drop_rights() -> None:
    """Give up every capability, for good."""
    for capability in range(64):
        _prctl(_PR_CAPBSET_DROP, capability)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    _call("capset", header, (ctypes.c_uint32 * 6)())


_DENIED = {
    "x86_64": (0xC000003E, (29, 68, 319, 425, 447, 203)),
    "aarch64": (0xC00000B7, (194, 186, 279, 425, 447, 122)),
}
"""Of each machine: what filters of system calls know it by, and its numbers of shmget, msgget, memfd_create,
io_uring_setup and memfd_secret, calls that hold memory which no limit and no watchdog counts; and of
sched_setaffinity: a box that was given two cores keeps to them."""


def _deny_calls() -> None:
    """Refuse these system calls to this process and all that it starts (on the machines that are listed)."""
    if sys.platform != "linux" or os.uname().machine not in _DENIED or sys.maxsize < 2**32:
        return
    machine, denied = _DENIED[os.uname().machine]
    load, equal, at_least, answer = 0x20, 0x15, 0x35, 0x06
    lines = [
        (load, 4),  # for which machine the call is meant: another's numbers, of 32 bits, mean other calls
        (equal, machine),
        (load, 0),  # its number; from 2**30 on there is a second set of numbers for the same calls
        (at_least, 2**30),
        *((equal, number) for number in denied),
        (answer, 0x7FFF0000),  # allowed
        (answer, 0x00050000 | errno.EPERM),
    ]
    program = b""
    for place, (code, operand) in enumerate(lines):
        refuse = len(lines) - place - 2  # how many lines to jump over
        jumps = {equal: (0, refuse) if place == 1 else (refuse, 0), at_least: (refuse, 0)}.get(code, (0, 0))
        program += struct.pack("HBBI", code, *jumps, operand)
    kept = ctypes.create_string_buffer(program)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _LIBC.prctl(_PR_SET_SECCOMP, 2, struct.pack("HxxxxxxP", len(lines), ctypes.addressof(kept)), 0, 0)


def _go_first() -> None:
    """Let the system end this process, or what it starts, and no grader, when its memory is used up.

    Without rights of root it can be taken back to what others have, and then the watchdog's limit is left.
    """
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # only Linux has it
        file.write("1000")


def _kernel(order: dict, seal) -> None:
    """Become the kernel: close what belongs to the grader, set the limits, open the sockets, and serve."""
    from ipykernel.kernelapp import IPKernelApp

    os.setsid()  # a signal to its process group must not reach ours
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    os.closerange(3, 4096)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = order["folder"]
    os.makedirs(folder, exist_ok=True)
    os.chdir(folder)
    if not folder.startswith("/home/s/"):
        os.environ |= {"HOME": folder, "TMPDIR": folder}  # no namespaces: to be removed with the kernel
    tempfile.tempdir = None
    _go_first()
    for name in ("AS", "NPROC", "FSIZE", "CPU", "NOFILE", "CORE"):
        if name in order["limits"]:
            value = order["limits"][name]
            with contextlib.suppress(ValueError, OSError):  # macOS knows no limit of address space
                resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))
    with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
        json.dump(order["connection"], file)
    app = IPKernelApp.instance(connection_file=file.name, parent_handle=0)
    app.initialize(["--HistoryManager.enabled=False", "--IPKernelApp.quiet=True"])
    seal()
    _deny_calls()
    app.start()


def try_namespaces() -> None:
    """Make the namespaces of a kernel once, and exit with 1 where that is not allowed."""
    reading, writing = os.pipe()
    order = {"limits": {"disk": 2**20}, "connection": {"ip": "/run/k/x"}}
    if os.fork() == 0:
        os.close(reading)
        _run(lambda *at: _in_namespaces(*at, inside=lambda _, seal: (seal(), os._exit(0))), order, writing)
    os.close(writing)
    with os.fdopen(reading) as told:
        text = told.read()
    os.wait()
    sys.exit(not text.strip().isdigit())


def serve(nested: bool) -> None:
    """Take orders until stdin ends."""
    # Kernels of one user may look into each other's memory unless told otherwise.
    _prctl(_PR_SET_DUMPABLE, 0)
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    child = None
    for line in sys.stdin:
        order, answer = json.loads(line), {}
        if order["do"] == "start":
            if child:
                child.end()
            child = Child(order, nested)
            answer = {"trouble": child.trouble}
        elif order["do"] == "interrupt" and child:
            child.interrupt()
        elif order["do"] == "end" and child:
            child.end()
        answer["alive"] = bool(child and child.alive())
        print(json.dumps(answer), flush=True)
    if child:
        child.end()


if __name__ == "__main__":
    os.nice(5)  # who watches over the box must get its turn, whatever goes on inside
    prepare(sys.argv[2].split(","))
    print(json.dumps({"ready": True}), flush=True)
    serve(nested=sys.argv[1] == "nested")
