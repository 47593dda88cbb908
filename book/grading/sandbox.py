"""Where students' kernels run: bubblewrap when it is there, else limits only, and what that leaves open.

`Sandbox(stage, imports, ...)` starts one process (see zygote.py) that imports everything, and
`Sandbox.kernel()` forks a kernel from it.  Inside bubblewrap there is no network, the system is read-only,
/tmp, HOME and shared memory are private and small, the environment is empty, nothing of the project is there
but the staged packages (staging.py), and a kernel can make no namespaces.  A watchdog counts the memory and
the processes of the whole sandbox, which no limit of a single process does.  Sockets are the only way out:
messages of the Jupyter protocol, which hold JSON and no pickles.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from book import threads
from book.grading.staging import PACKAGES
from book.lessons.running import BadNotebook, Kernel

KINDS = ("auto", "bubblewrap", "limits")

NOT_PROTECTED = (
    "bubblewrap is not there or not allowed here, so submissions run with limits on memory, processes, file "
    "size and time only: they CAN read and change your files, read the solutions, end your programs, and use "
    "the network. Install bubblewrap (bwrap), or grade on a machine that holds nothing else."
)


class NoSandbox(Exception):
    """The isolation asked for cannot be had; the text is one sentence."""


@dataclass(frozen=True)
class Limits:
    """What a submission may use.

    memory: bytes of address space a process, of which it has used 1.3 GB when it starts, and of real memory
    all together.  disk: bytes in each of /tmp, home and shared memory.  file: bytes a file.  processes: how
    many, each with six threads on average.  cpu: seconds a process.
    """

    memory: int = 4 * 2**30
    disk: int = 64 * 2**20
    file: int = 20 * 2**20
    processes: int = 64
    cpu: int = 1200

    def orders(self) -> dict:
        """As the zygote takes them: names of RLIMIT_*, and the size of the private folders."""
        return {
            "AS": self.memory,
            # A second fence, which does not hold for root: threads count too, and where the kernel shares its
            # user with other programs, so do theirs.
            "NPROC": _THREADS * self.processes + _threads_of_user(),
            "FSIZE": self.file,
            "CPU": self.cpu,
            "NOFILE": 256,
            "CORE": 0,
            "disk": self.disk,
        }


_THREADS = 6


@functools.cache
def _threads_of_user() -> int:
    """How many threads the programs of this user have."""
    import psutil

    everybody = [p for p in psutil.process_iter() if _asked(lambda p=p: p.uids().real, -1) == os.getuid()]
    return sum(_asked(process.num_threads, 0) for process in everybody)


def _asked(question, otherwise):
    """What psutil tells of a process, or something else when the process has just ended."""
    import psutil

    try:
        return question()
    except psutil.Error:
        return otherwise


# --- bubblewrap -----------------------------------------------------------------------------------------


_PARTS = ("bin", "include", "lib", "lib64", "share", "Frameworks", "pyvenv.cfg")
"""What of a Python's own folder it needs; the rest may be somebody's home, or a course's."""


def _python_folders() -> list[str]:
    """The folders that this Python needs, and a file of an environment's, outermost only: the parts of the
    environment and of its base, and sys.path."""
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, str(Path(sys.executable).resolve().parents[1])}
    prefixes |= {os.path.realpath(prefix) for prefix in prefixes}
    wanted = {os.path.join(prefix, part) for prefix in prefixes for part in _PARTS}
    wanted |= {os.path.realpath(p) for p in sys.path if "site-packages" in p or "dist-packages" in p}
    found = sorted(path for path in wanted if os.path.exists(path) and not os.path.islink(path))
    return [p for p in found if not any(p != q and p.startswith(q.rstrip("/") + "/") for q in found)]


def _links() -> dict[str, str]:
    """{link: where it leads} of the parts that are links, as a venv's lib64 is."""
    parts = (os.path.join(prefix, part) for prefix in (sys.prefix, sys.base_prefix) for part in _PARTS)
    return {path: os.readlink(path) for path in parts if os.path.islink(path)}


_PRIVATE = ("/tmp", "/home/s", "/dev/shm")
"""Folders that are each kernel's own, and empty when it starts."""

_INSIDE_PRIVATE = tuple(f"{folder}/" for folder in _PRIVATE)


def _seen_as(folders: list[str], secret: Path) -> set[str]:
    """All paths by which a folder would be seen: one folder may be bound under several names, since an
    environment can be reached by a link."""
    real, found = os.path.realpath(secret), set()
    for folder in [*folders, "/usr"]:
        base = os.path.realpath(folder).rstrip("/") + "/"
        if real.startswith(base):
            found.add(os.path.join(folder, real.removeprefix(base)))
    return found


def bubblewrap(stage: Path, sockets: Path, hidden: tuple[Path, ...], nested: bool) -> list[str]:
    """The command line before the program's own: a read-only system, private folders, no network, no
    environment.

    stage: the staged package, seen as /packages.  sockets: the folder shared with the grader, seen as /run/k.
    hidden: folders that must not be seen wherever they lie (the package itself, solutions, submissions).
    nested: kernels make namespaces of their own, and close that door behind them.
    """
    folders = _python_folders()
    line = ["bwrap", "--unshare-all", "--unshare-user", "--uid", "1000", "--gid", "1000"]
    line += ["--die-with-parent", "--new-session", "--cap-drop", "ALL", "--proc", "/proc", "--dev", "/dev"]
    line += [] if nested else ["--disable-userns"]
    # Nothing else may be written to: what is left in /dev, say, would be there for the next submission.
    for folder in _PRIVATE:
        line += ["--size", str(64 * 2**20), "--tmpfs", folder]
    line += ["--remount-ro", "/dev", *(_guards() if os.geteuid() == 0 else ()), "--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        if os.path.islink(f"/{name}"):
            line += ["--symlink", os.readlink(f"/{name}").lstrip("/"), f"/{name}"]
        elif os.path.isdir(f"/{name}"):
            line += ["--ro-bind", f"/{name}", f"/{name}"]
    for path in ("/etc/ld.so.cache", "/etc/alternatives", "/etc/fonts", "/etc/localtime", "/nix/store"):
        line += ["--ro-bind-try", path, path]
    line += ["--ro-bind", str(stage / "passwd"), "/etc/passwd"]
    for folder in folders:
        if not folder.startswith("/usr/"):
            line += ["--ro-bind", folder, folder]
    for link, where in _links().items():
        if not link.startswith("/usr/"):
            line += ["--symlink", where, link]
    for secret in hidden:
        for path in sorted(_seen_as(folders, secret)):
            line += ["--tmpfs", path]
    line += ["--dir", "/home/s/work", "--ro-bind", str(stage / PACKAGES), f"/{PACKAGES}"]
    line += ["--bind", str(sockets), "/run/k"]
    return [*line, "--chdir", "/home/s/work", "--remount-ro", "/", "--"]


def _guards() -> list[str]:
    """Read-only covers for what belongs to root in /proc.

    A box that root starts is still root to those files, without any capability: it could write to
    /proc/sys/kernel.  /proc/sys/user is every namespace's own.
    """
    covers = [f"/proc/sys/{name}" for name in os.listdir("/proc/sys") if name != "user"]
    for entry in os.scandir("/proc"):
        known = entry.name.isdigit() or entry.is_symlink() or entry.name == "sys"
        if not known and entry.stat().st_mode & 0o222 | entry.is_dir():
            covers.append(entry.path)
    return [part for path in sorted(covers) for part in ("--ro-bind", path, path)]


@functools.cache
def found(kind: str = "auto") -> str:
    """The isolation that can be had here: 'nested' (bubblewrap, and namespaces for each kernel), 'bubblewrap'
    (a box for each kernel) or 'limits'.

    Tried, not guessed: some systems forbid namespaces to ordinary users.  Raises NoSandbox when bubblewrap is
    insisted on and is not to be had.
    """
    if sys.platform not in ("linux", "darwin"):
        raise NoSandbox(
            "Grading and the contest run on Linux and macOS; on Windows, use the Windows Subsystem for Linux."
        )
    if kind == "limits":
        return kind
    with tempfile.TemporaryDirectory(prefix="tk") as folder:
        stage, sockets = Path(folder, "stage"), Path(folder, "k")
        (stage / PACKAGES).mkdir(parents=True)
        sockets.mkdir()
        (stage / "passwd").write_text("")
        shutil.copy(Path(__file__).with_name("zygote.py"), stage / PACKAGES / "zygote.py")
        for nested in (True, False):
            code = "import zygote; zygote.try_namespaces()" if nested else "pass"
            line = bubblewrap(stage, sockets, (), nested) if shutil.which("bwrap") else ["false"]
            program = [sys.executable, "-c", f"import sys; sys.path.insert(0, '/{PACKAGES}'); {code}"]
            tried = subprocess.run([*line, *program], env=_environment(f"/{PACKAGES}"), capture_output=True)
            if tried.returncode == 0:
                return "nested" if nested else "bubblewrap"
    if kind == "bubblewrap":
        said = tried.stderr.decode(errors="replace").strip().splitlines() or ["bwrap is not installed"]
        raise NoSandbox(f"Bubblewrap cannot be used here ({said[-1][:200]}): grade with --isolation limits.")
    return "limits"


def _environment(book: str, home: str = "/home/s") -> dict[str, str]:
    """All that a student's kernel finds in its environment."""
    return dict.fromkeys(threads.VARIABLES, "1") | {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": home,
        "LANG": "C.UTF-8",
        "PYTHONPATH": book,
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
        "MPLCONFIGDIR": f"{home}/.matplotlib",
        "TORCHDYNAMO_DISABLE": "1",  # torch.compile gives back what it was given: the values are the same
    }


# --- the box --------------------------------------------------------------------------------------------


class Sandbox:
    """A process that forks kernels, alone in its sandbox.

    stage: the staged package (staging.py).  imports: names imported before the first fork.  kind: 'auto',
    'bubblewrap' or 'limits'.  hidden: folders to keep out of sight.  `ended` says why the watchdog ended it.
    """

    def __init__(self, stage: Path, imports: list[str], limits: Limits, kind="auto", hidden=()):
        self.stage, self.imports, self.limits = stage, imports, limits
        self.hidden, self.kind = tuple(hidden), found(kind)
        self.process, self.folder, self.ended, self.used = None, None, "", False
        self.users = [_NOBODY, None] if os.geteuid() == 0 and self.kind != "limits" else [None]
        self.group: Path | None = None

    def kernel(self) -> Kernel:
        """A fresh kernel; one that runs from here before is ended.  Raises NoSandbox when none starts."""
        for attempt in range(3):
            try:
                if self.process is None or (self.used and self.kind == "bubblewrap"):
                    self._start()
                self.used = True
                return Kernel(_Forked(self))
            except (_Gone, BadNotebook):
                self.close()
                if attempt == 2:
                    raise NoSandbox("No kernel could be started in the sandbox.") from None

    def warm(self) -> None:
        """Start now what the first kernel would have to wait for; what goes wrong is told by `kernel`."""
        with contextlib.suppress(_Gone):
            self._start()

    def _start(self) -> None:
        self.close()
        # Paths of sockets may not be longer than some hundred characters.
        short = self.stage if len(str(self.stage)) < 60 else None
        self.folder = Path(tempfile.mkdtemp(prefix="k", dir=short))
        sockets = self.folder / "k"
        sockets.mkdir()
        home = self.folder / "home"
        home.mkdir()
        if self.kind == "limits":
            line, env = [], _environment(str(self.stage / PACKAGES), str(home))
        else:
            line = bubblewrap(self.stage, sockets, self.hidden, self.kind == "nested")
            env = _environment(f"/{PACKAGES}")
        mode = "nested" if self.kind == "nested" else "plain"
        program = [sys.executable, "-m", "book.grading.zygote", mode, ",".join(self.imports)]
        self._launch([*line, *program], env, home, sockets)
        self.ended, self.used = "", False
        threading.Thread(target=self._watch, args=(self.process,), daemon=True).start()

    def _launch(self, line: list[str], env: dict, home: Path, sockets: Path) -> None:
        """Start the process: for root as nobody, if nobody can read this Python, else as ourselves.

        Limits on the number of processes do not hold for root, so there a control group counts them.
        """
        for user in self.users:
            for folder in (self.stage, self.folder):
                folder.chmod(0o755 if user else 0o700)
            for folder in (home, sockets):
                os.chown(folder, user or os.geteuid(), user or os.getegid())
            self.process = subprocess.Popen(
                line,
                env=env,
                cwd=home,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                **({"user": user, "group": user, "extra_groups": ()} if user else {}),
            )
            try:
                self._answer(_START)
            except _Gone:
                if user == self.users[-1]:
                    raise
                continue
            self.users = [user]
            if os.geteuid() == 0 and not user:
                self.group = _counted(self.process.pid, _THREADS * self.limits.processes)
            return

    def order(self, do: str, **more) -> dict:
        """Send an order and return the answer.  Raises _Gone when the process has ended."""
        process = self.process
        if process is None:
            raise _Gone
        try:
            process.stdin.write(json.dumps({"do": do, **more}).encode() + b"\n")
            process.stdin.flush()
        except (OSError, ValueError):
            raise _Gone from None
        return self._answer()

    def _answer(self, seconds: float = 30.0) -> dict:
        """The next answer.  Without namespaces of its own a kernel can stop the process that is asked here,
        or write in its place, so nobody waits for ever or reads without end.
        """
        process, text, end = self.process, b"", time.monotonic() + seconds
        try:
            while not text.endswith(b"\n") and len(text) < _LONGEST:
                if not select.select([process.stdout], [], [], max(0.0, end - time.monotonic()))[0]:
                    _kill(process)
                    break
                text += os.read(process.stdout.fileno(), _LONGEST) or b"\n"
            return json.loads(text.splitlines()[0]) | {}
        except (ValueError, OSError, AttributeError, LookupError, TypeError):
            raise _Gone from None

    def _watch(self, process) -> None:
        """End the box when it takes more memory, processes or room for sockets than one submission may."""
        while process.poll() is None:
            why = _too_much(process.pid, self.limits) or _too_full(self.folder, self.limits)
            if why:
                self.ended = why
                _kill(process)
                return
            time.sleep(0.2)

    def close(self) -> None:
        """End everything in the box; calling it again does nothing."""
        process, self.process = self.process, None
        if process is not None:
            _kill(process)
            process.wait()
            for pipe in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):  # what could not be sent any more
                    pipe.close()
        if self.group is not None:
            for _ in range(100):  # until the last of them is gone
                with contextlib.suppress(OSError):
                    self.group.rmdir()
                    break
                time.sleep(0.02)
            self.group = None
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


_NOBODY = 65534

_START = 300.0
"""Seconds that the imports may take, from a cold disk."""

_LONGEST = 65536
"""Characters of an answer."""


class _Gone(Exception):
    """The box's process has ended."""


def _counted(pid: int, most: int) -> Path | None:
    """A control group that holds a process and what comes from it to so many threads, or None."""
    import psutil

    for above in ("/sys/fs/cgroup/pids", "/sys/fs/cgroup"):  # of the first and the second version
        group = Path(above, f"toolkit-{os.getpid()}-{pid}")
        for old in Path(above).glob("toolkit-*-*"):  # of graders that were killed
            if not psutil.pid_exists(int(old.name.split("-")[1])):
                with contextlib.suppress(OSError):
                    old.rmdir()
        try:
            group.mkdir()
            (group / "pids.max").write_text(f"{most}")
            for one in (pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))):
                (group / "cgroup.procs").write_text(f"{one}")
            return group
        except (OSError, psutil.Error):
            with contextlib.suppress(OSError):
                group.rmdir()
    return None


def _kill(process) -> None:
    """Kill a process and all that came from it: in a sandbox the kernel does that, at once."""
    import psutil

    try:
        for child in psutil.Process(process.pid).children():
            child.kill()
        family = psutil.Process(process.pid).children(recursive=True)
    except psutil.Error:
        family = []
    for pid in [process.pid, *(child.pid for child in family)]:
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            continue


def _too_much(pid: int, limits: Limits) -> str:
    """Why the processes under this one are too many or too big, or ''."""
    import psutil

    try:
        family = psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return ""
    if len(family) > limits.processes:
        return f"it started more than {limits.processes} processes"
    if sum(_asked(child.num_threads, 0) for child in family) > _THREADS * limits.processes:
        return f"it started more than {_THREADS * limits.processes} threads"
    # What processes share counts in full at first, and once in the slower reading.
    if sum(_asked(lambda c=child: c.memory_info().rss, 0) for child in family) > limits.memory:
        if sum(_asked(lambda c=child: _share(c.memory_full_info()), 0) for child in family) > limits.memory:
            return f"it used more than {limits.memory / 2**30:g} GB of memory"
    return ""


def _share(memory) -> int:
    return getattr(memory, "pss", memory.rss)


def _too_full(folder: Path | None, limits: Limits) -> str:
    """Why the folders that lie on the outer disk hold what they should not, or '': that of the sockets, and
    without a sandbox the kernels' homes.
    """
    if folder is None:
        return ""
    if _holds_more(folder / "k", 100, 2**20):
        return "it wrote files where its sockets are"
    if _holds_more(folder / "home", 10_000, limits.disk):
        return f"it wrote more than {limits.disk / 2**20:g} MB, or 10,000 files"
    return ""


def _holds_more(folder: Path, files: int, size: int) -> bool:
    """Whether a folder holds more than so many entries or bytes."""
    for root, _, names in os.walk(folder):
        files -= 1 + len(names)
        for name in names if files > 0 else ():
            with contextlib.suppress(OSError):
                size -= os.lstat(os.path.join(root, name)).st_blocks * 512
        if files <= 0 or size < 0:
            return True
    return False


class _Forked:
    """A kernel in a box, with the face of jupyter_client's KernelManager as far as `Kernel` needs it."""

    def __init__(self, box: Sandbox):
        self.box = box
        name = secrets.token_hex(4)
        self.info = {
            "transport": "ipc",
            "ip": f"{box.folder}/k/{name}",
            "key": secrets.token_hex(16),
            "signature_scheme": "hmac-sha256",
            "kernel_name": "python3",
            **{f"{port}_port": n for n, port in enumerate(("shell", "iopub", "stdin", "control", "hb"), 1)},
        }
        inside = self.info | {"ip": self.info["ip"] if box.kind == "limits" else f"/run/k/{name}"}
        self.home = box.folder / "home" / name  # without a sandbox
        folder = str(self.home) if box.kind == "limits" else "/home/s/work"
        limits, kept = (
            box.limits.orders(),
            [path for path in _python_folders() if path.startswith(_INSIDE_PRIVATE)],
        )
        answer = box.order("start", connection=inside, folder=folder, limits=limits, kept=kept)
        if answer.get("trouble"):
            raise BadNotebook(f"The kernel did not start ({answer['trouble']}).")

    def client(self):
        import zmq
        from jupyter_client.blocking import BlockingKernelClient

        self.context = context = zmq.Context()
        # A larger message is dropped, not taken in; and few wait here, where zmq would let in a thousand.
        context.setsockopt(zmq.MAXMSGSIZE, 32 * 2**20)
        context.setsockopt(zmq.RCVHWM, 16)
        context.setsockopt(zmq.LINGER, 0)
        context.setsockopt(zmq.RECONNECT_IVL, 5)  # milliseconds: the kernel's ends are not there yet
        client = BlockingKernelClient(context=context)
        client.load_connection_info(self.info)
        return client

    def is_alive(self) -> bool:
        try:
            return bool(self.box.order("alive").get("alive"))
        except _Gone:
            return False

    def why_ended(self) -> str:
        return self.box.ended

    def interrupt_kernel(self) -> None:
        try:
            self.box.order("interrupt")
        except _Gone:
            return

    def shutdown_kernel(self, now: bool = True) -> None:
        try:
            self.box.order("end")
        except _Gone:
            self.box.close()
        self.context.destroy(linger=0)  # else its files stay open until they are collected
        for path in Path(self.info["ip"]).parent.glob(f"{Path(self.info['ip']).name}-*"):
            path.unlink(missing_ok=True)
        shutil.rmtree(self.home, ignore_errors=True)
