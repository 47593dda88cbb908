"""What a student's kernel can see and do, in each kind of isolation, and what of it is left afterwards."""

import contextlib
import json
import os
import secrets
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from book.grading import sandbox, staging
from book.grading.sandbox import Limits, NoSandbox, Sandbox

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
MODULES = ["book.grading.kernel_check", "numpy.random", "matplotlib.pyplot", "book.lessons._probes_00"]
BOXED = ("nested", "bubblewrap")
KINDS = (*BOXED, "limits")


def need(kind):
    """Skip the test where this kind of isolation cannot be had."""
    here = sandbox.found()
    if kind != "limits" and here == "limits":
        pytest.skip("bubblewrap is not installed here, or the system forbids it")
    if kind == "nested" and here != "nested":
        pytest.skip("the system does not let a sandbox make namespaces of its own")


@contextlib.contextmanager
def made(kind, stage, limits=None, imports=("math",), **more):
    """A box of this kind, which imports nothing large beforehand: it starts three times as fast."""
    need(kind)
    asked = "limits" if kind == "limits" else "bubblewrap"
    with Sandbox(stage, list(imports), limits or Limits(), asked, **more) as one:
        one.kind = kind
        yield one


@pytest.fixture(scope="module")
def stage():
    """The staged packages."""
    with tempfile.TemporaryDirectory(prefix="tk") as folder:
        yield staging.stage(Path(folder), ["00"])


@pytest.fixture(scope="module")
def boxes(stage):
    """`boxes(kind)`: a box of each kind, made when first asked for.

    The one that is used for grading, and starts once for all of its kernels, imports what it does there.
    """
    with contextlib.ExitStack() as stack:
        kept = {}

        def box(kind):
            if kind not in kept:
                imports = MODULES if kind == "nested" else ("math",)
                kept[kind] = stack.enter_context(made(kind, stage, imports=imports))
            return kept[kind]

        yield box


def run(kernel, source, seconds=120.0):
    """What a cell prints last, as JSON; it must not go wrong."""
    ran = kernel.run(source, seconds, 5_000_000)
    assert not ran.ename and not ran.stopped, (ran.ename, ran.evalue, ran.stopped)
    return json.loads(ran.text.splitlines()[-1]) if ran.text else None


@contextlib.contextmanager
def kernel_in(box):
    kernel = box.kernel()
    try:
        yield kernel
    finally:
        kernel.close()


@contextlib.contextmanager
def impatient(box):
    """A kernel of the box; once it is there, nobody waits longer than 3 s for the process that forks."""
    kernel = box.kernel()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sandbox._answer, "__defaults__", (3.0,))
        try:
            yield kernel
        finally:
            kernel.close()


def alone(box, source, seconds=120.0):
    """The same, in a kernel of its own."""
    with kernel_in(box) as kernel:
        return run(kernel, source, seconds)


# --- what is there --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BOXED)
def test_nothing_of_the_machine_can_be_seen(boxes, kind, tmp_path, monkeypatch):
    (tmp_path / "marks.csv").write_text("all")
    box = boxes(kind)
    places = [
        str(ROOT / "README.md"),  # the folder itself is there when the environment lies in it
        str(ROOT / "solutions"),
        str(ROOT / "toolkit"),
        str(ROOT / "book"),
        str(tmp_path / "marks.csv"),
        str(box.stage),
    ]
    source = f"""
import os, json
seen = [n for n, place in enumerate({places!r}) if os.path.exists(place)]
print(json.dumps([seen, sorted(os.environ), sorted(os.listdir("/home/s/work")), os.getcwd()]))"""
    seen, names, files, folder = alone(box, source)
    assert seen == [] and files == [] and folder == "/home/s/work"
    ours = {*sandbox._environment(""), "PWD", "LC_CTYPE"}
    ipykernels = {"CLICOLOR", "CLICOLOR_FORCE", "FORCE_COLOR", "GIT_PAGER", "PAGER", "TERM", "MPLBACKEND"}
    assert set(names) <= ours | ipykernels | {"PYDEVD_USE_FRAME_EVAL"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_environment_of_the_grader_is_not_handed_on(kind, stage, monkeypatch):
    monkeypatch.setenv("CANVAS_TOKEN", "s3cret-" + "token")
    with made(kind, stage) as box:
        source = (
            "import json, os\nfound = ['CANVAS_TOKEN' in os.environ]\nfor pid in os.listdir('/proc'):\n"
            "    try: found.append(b's3cre' + b't-' in open(f'/proc/{pid}/environ', 'rb').read())\n"
            "    except OSError: pass\nprint(json.dumps(any(found)))"
        )
        if kind == "limits":
            source = "import json, os; print(json.dumps('CANVAS_TOKEN' in os.environ))"
        assert alone(box, source) is False


@pytest.mark.parametrize("kind", BOXED)
def test_the_package_has_no_right_answers(boxes, kind):
    source = """
import os, json, re
names, hits = [], []
for folder, _, files in os.walk("/packages"):
    for name in files:
        names.append(name)
        text = open(os.path.join(folder, name), errors="replace").read()
        if "ALPHA_BAR" in text or "Which parts of x_t" in text or "Write down equation (0.1)" in text:
            hits.append(name)
wrong = [name for name in names if re.match(r"tasks|reference\\.json|release|feedback|marking|collect", name)]
print(json.dumps([wrong, hits, len(names)]))"""
    wrong, hits, count = alone(boxes(kind), source)
    assert wrong == [] and count > 30
    assert hits == []


@pytest.mark.parametrize("kind", BOXED)
def test_only_private_folders_can_be_written_to(boxes, kind):
    source = """
import os, json
written = set()
for root in ("/", "/dev", "/home", "/run", "/packages", "/proc", "/tmp", "/etc", "/usr", "/opt"):
    for folder, inner, _ in os.walk(root):
        inner[:] = [name for name in inner if folder.count("/") < 3 and not name.isdigit()]
        path = os.path.join(folder, "left")
        try:
            open(path, "w").write("x")
            written.add(folder)
            os.unlink(path)
        except OSError: pass
for name in ("/dev/null", "/dev/zero", "/proc/sysrq-trigger", "/bin/sh"):
    try: os.chmod(name, os.stat(name).st_mode & 0o777); written.add(name)
    except OSError: pass
print(json.dumps(sorted(written)))"""
    own = {"/tmp", "/home/s", "/home/s/work", "/dev/shm"}
    if kind == "bubblewrap":  # the second best, where root's devices are still root's
        own |= {"/run/k"} | ({"/dev/null", "/dev/zero"} if os.geteuid() == 0 else set())
    found = {place for place in alone(boxes(kind), source) if not place.startswith(("/home/s/", "/tmp/"))}
    assert found <= own
    assert alone(boxes(kind), "open('/dev/null', 'w').write('x'); print(1)") == 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_next_kernel_finds_nothing_of_the_last(boxes, kind):
    box, name = boxes(kind), "left-" + secrets.token_hex(4)
    source = f"""
import os, json, tempfile
places = [".", os.path.expanduser("~"), tempfile.gettempdir(), "/dev/shm", "/dev", "/run/k", "/home", "/var"]
if {kind == "limits"}:
    places = places[:3]
def there(): return [place for place in places if os.path.exists(os.path.join(place, {name!r}))]
before = there()
for place in places:
    try: open(os.path.join(place, {name!r}), "w").write("x")
    except OSError: pass
import sys, builtins, toolkit
seen = hasattr(builtins, "left") or hasattr(toolkit, "left") or "LEFT" in os.environ
builtins.left = toolkit.left = 1
os.environ["LEFT"] = "1"
print(json.dumps([before, len(there()), seen]))"""
    first, second = alone(box, source), alone(box, source)
    assert first[0] == second[0] == [] and first[1] >= 3
    assert first[2] is second[2] is False


# --- what is forbidden ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BOXED)
def test_there_is_no_network(boxes, kind):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        source = f"""
import socket, json, os
reached = []
for place in (("127.0.0.1", {port}), ("1.1.1.1", 53), ("::1", {port})):
    try: socket.create_connection(place, timeout=1); reached.append(place)
    except OSError: pass
print(json.dumps([reached, [name for _, name in socket.if_nameindex() if name != "lo"]]))"""
        assert alone(boxes(kind), source) == [[], []]


@pytest.mark.parametrize("kind", BOXED)
def test_rights_are_gone_for_good(boxes, kind):
    source = """
import ctypes, json, os, subprocess
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
libc = ctypes.CDLL(None, use_errno=True)
done = [name for name, flags in (("user", 0x10000000), ("mount", 0x20000), ("pid", 0x20000000))
        if libc.unshare(flags) == 0]
done += ["mount"] if libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) == 0 else []
done += ["umount"] if libc.umount2(b"/home/s", 2) == 0 else []
done += ["remount"] if libc.mount(b"none", b"/packages", None, 32 | 4096, None) == 0 else []
done += ["hostname"] if libc.sethostname(b"x", 1) == 0 else []
done += ["chroot"] if libc.chroot(b"/tmp") == 0 else []
for uid in (0, 1, 65534):
    try: os.setuid(uid); done.append("setuid") if uid != 0 or os.getuid() == 0 else None
    except OSError: pass
print(json.dumps([[int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd", "NoNewPrivs")], done]))"""
    assert alone(boxes(kind), source) == [[0, 0, 0, 1], []]


@pytest.mark.parametrize("kind", KINDS)
def test_memory_that_nobody_counts_is_refused(boxes, kind):
    if os.uname().machine not in ("x86_64", "aarch64"):
        pytest.skip("the numbers of this machine's system calls are not listed")
    source = """
import ctypes, json, os
libc = ctypes.CDLL(None)
got = [libc.shmget(0, 2**20, 0o1600), libc.msgget(0, 0o1600)]
try: got.append(os.memfd_create("a"))
except PermissionError: got.append(-1)
if os.uname().machine == "x86_64":
    got += [libc.syscall(319 | 2**30, b"a", 0), libc.syscall(29 | 2**30, 0, 2**20, 0o1600)]
print(json.dumps([got, os.getpid() == libc.getpid()]))"""
    got, same = alone(boxes(kind), source)
    assert set(got) == {-1} and same
    # What honest code shares memory by still works.
    shared = "from multiprocessing.shared_memory import SharedMemory as S\ns = S(create=True, size=9)\n"
    assert alone(boxes(kind), shared + "s.unlink(); print(1)") == 1


@pytest.mark.parametrize("kind", KINDS)
def test_limits_are_set(boxes, kind):
    source = """
import resource, json
print(json.dumps([resource.getrlimit(getattr(resource, f"RLIMIT_{name}")) for name in
    ("AS", "FSIZE", "CPU", "NOFILE", "CORE")]))"""
    limits = Limits()
    wanted = [limits.memory, limits.file, limits.cpu, 256, 0]
    assert alone(boxes(kind), source) == [[one, one] for one in wanted]
    with kernel_in(boxes(kind)) as kernel:
        ran = kernel.run("open('big', 'wb').write(b'x' * 10**8)", 20, 10**6)
        assert ran.ename == "OSError" and kernel.alive
        ran = kernel.run("x = bytearray(4 * 2**30)", 20, 10**6)
        assert ran.ename == "MemoryError" and kernel.alive


@pytest.mark.skipif(not os.access("/proc/self/oom_score_adj", os.W_OK), reason="only Linux has it")
@pytest.mark.parametrize("kind", KINDS)
def test_when_memory_is_used_up_the_kernel_goes_before_the_grader(boxes, kind):
    """What it starts goes with it, and it is the first of all: 1000 is the most that there is."""
    source = """
import json, subprocess
mine = open("/proc/self/oom_score_adj").read()
child = subprocess.run(["cat", "/proc/self/oom_score_adj"], capture_output=True, text=True).stdout
print(json.dumps([int(mine), int(child)]))"""
    before = Path("/proc/self/oom_score_adj").read_text()
    assert alone(boxes(kind), source) == [1000, 1000]
    box = boxes(kind)
    assert Path(f"/proc/{box.process.pid}/oom_score_adj").read_text() == before


@pytest.mark.parametrize("kind", BOXED)
def test_disks_are_small(boxes, kind):
    source = """
import json, os
sizes = []
for place in ("/tmp", "/home/s", "/dev/shm"):
    try:
        for n in range(40): open(f"{place}/big{n}", "wb").write(b"x" * 2**22)
    except OSError: pass
    sizes.append(sum(os.path.getsize(f"{place}/{name}") for name in os.listdir(place)) / 2**20)
print(json.dumps(max(sizes)))"""
    assert 30 < alone(boxes(kind), source) <= 64


# --- the process that forks, and what is left -----------------------------------------------------------


def test_the_process_that_forks_can_be_neither_reached_nor_read(boxes):
    source = """
import ctypes, json, os, signal
reached = []
pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
inside = int(os.readlink("/proc/self"))
for pid in [pid for pid in pids if pid != inside] + [os.getppid()]:
    for name in ("mem", "environ", "maps", "auxv", "stack", "fd/0", "fd/1", "root/etc", "cwd/x"):
        try: open(f"/proc/{pid}/{name}", "rb").read(1); reached.append([pid, name])
        except OSError as error:
            if error.errno not in (1, 2, 13): reached.append([pid, name, error.errno])
    for name in ("mem", "fd/1", "oom_score_adj", "uid_map"):
        try: os.write(os.open(f"/proc/{pid}/{name}", os.O_WRONLY), b"x"); reached.append([pid, name])
        except OSError: pass
    if ctypes.CDLL(None).ptrace(16, pid, 0, 0) == 0: reached.append([pid, "ptrace"])
signalled = []
for pid in range(2, 2000):
    try: os.kill(pid, 0); signalled.append(pid)
    except OSError: pass
print(json.dumps([reached, len(signalled), len(os.listdir("/proc/self/task")), os.getpid(), len(pids)]))"""
    reached, signalled, threads, pid, count = alone(boxes("nested"), source)
    assert reached == [] and signalled < threads and pid == 1 and count >= 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", ["SIGSTOP", "SIGKILL", "SIGTERM"])
def test_whoever_signals_its_parent_hangs_nobody(boxes, kind, number):
    box = boxes(kind)
    with impatient(box) as kernel:
        kernel.run(
            f"import os, signal\nif os.getppid() > 1: os.kill(os.getppid(), signal.{number})", 5, 10**6
        )
    assert alone(box, "print(5)") == 5


@pytest.mark.parametrize("kind", BOXED)
def test_signals_to_all_reach_nobody_else(boxes, kind):
    box, here = boxes(kind), psutil.Process()
    with kernel_in(box) as kernel:
        ran = kernel.run("import os\nfor n in (15, 9): os.kill(-1, n)", 5, 10**6)
    assert ran.ename in ("", "ProcessLookupError") and here.is_running()
    assert alone(box, "print(5)") == 5


@pytest.mark.parametrize("kind", BOXED)
def test_what_is_written_to_the_graders_pipe_hangs_nobody(boxes, kind):
    source = """
import os, threading, time
def flood(text):
    for pid in (1, 2, 3, os.getppid()):
        try:
            pipe = os.open(f"/proc/{pid}/fd/1", os.O_WRONLY)
            while True: os.write(pipe, text)
        except OSError: pass
for text in (b'{"alive": true}' * 3000, b'[1]' + bytes([10]), b"x" * 70_000):
    threading.Thread(target=flood, args=(text,), daemon=True).start()
time.sleep(1)"""
    box = boxes(kind)
    with impatient(box) as kernel:
        kernel.run(source, 5, 10**6)
    assert alone(box, "print(5)") == 5


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_survives_a_kernel(boxes, kind):
    mark = f"4321.{secrets.randbelow(10**6):06d}"
    source = f"""
import os, subprocess, signal
for _ in range(3):
    subprocess.Popen(["sleep", "{mark}"], start_new_session=True)
if os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if os.fork() == 0:
        os.execvp("sleep", ["sleep", "{mark}"])
    os._exit(0)
print(1)"""
    with kernel_in(boxes(kind)) as kernel:
        assert run(kernel, source) == 1
        assert len(_running(mark)) >= 3
    for _ in range(1200):
        if not _running(mark):
            break
        time.sleep(0.05)
    assert _running(mark) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_kernel_that_kills_its_parent_goes_with_it(boxes, kind):
    with kernel_in(boxes(kind)) as kernel:
        before = psutil.Process(boxes(kind).process.pid).children(recursive=True)
        kernel.run("import os\nif os.getppid() > 1: os.kill(os.getppid(), 9)", 5, 10**6)
        boxes(kind).close()
        _, alive = psutil.wait_procs(before, timeout=60)
    assert alive == []


def _running(mark):
    """The ids of the processes that carry a mark on their command line."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.status() != psutil.STATUS_ZOMBIE and mark in process.cmdline():
                found.append(process.pid)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_survives_a_box(kind, stage):
    mark = f"4321.{secrets.randbelow(10**6):06d}"
    with made(kind, stage) as box:
        kernel = box.kernel()
        source = f"import subprocess; subprocess.Popen(['sleep', '{mark}'], start_new_session=True); print(1)"
        assert run(kernel, source) == 1
        family = psutil.Process(box.process.pid).children(recursive=True)
        folder = box.folder
    kernel.client.stop_channels()
    psutil.wait_procs(family, timeout=60)
    assert _running(mark) == [] and not any(one.is_running() for one in family) and not folder.exists()


STARTED = """
import os, signal, subprocess, time
signal.signal(signal.SIGINT, signal.default_int_handler)
subprocess.Popen(["sleep", "{mark}"], start_new_session=True)
if os.fork() == 0:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if os.fork() == 0:
        os.execvp("sleep", ["sleep", "{mark}"])
    os.execvp("sleep", ["sleep", "{mark}"])
kept = 7
while True: time.sleep(1)
"""


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_cell_has_started_ends_with_it_at_the_deadline(boxes, kind):
    mark = f"{secrets.randbelow(10**9)}.5"
    with kernel_in(boxes(kind)) as kernel:
        ran = kernel.run(STARTED.format(mark=mark), 4.0, 10**6)
        assert "still running after 4 s" in ran.stopped and kernel.alive
        gone = time.monotonic() + 60
        while _running(mark) and time.monotonic() < gone:
            time.sleep(0.05)
        assert _running(mark) == []
        assert run(kernel, "print(kept)") == 7  # the kernel itself goes on


@pytest.mark.parametrize("kind", KINDS)
def test_a_kernel_is_in_a_process_group_of_its_own(boxes, kind):
    with kernel_in(boxes(kind)) as kernel:
        family = psutil.Process(boxes(kind).process.pid).children(recursive=True)
        groups = {os.getpgid(child.pid) for child in family}
        assert os.getpgrp() not in groups
        ran = kernel.run("import os; os.killpg(0, 15)", 5, 10**6)
        assert ran.stopped or not ran.ename
    assert alone(boxes(kind), "print(5)") == 5


@pytest.mark.parametrize("kind", KINDS)
def test_kernels_leave_no_files_and_no_open_ends(boxes, kind):
    box, here = boxes(kind), psutil.Process()
    alone(box, "print(1)")
    if kind == "bubblewrap":
        box.close()  # each of its kernels has a box of its own
    before = here.num_fds()
    for _ in range(6):
        alone(box, "print(1)")
    left = {path.name for folder in ("k", "home") for path in (box.folder / folder).iterdir()}
    assert left <= {".matplotlib"}
    if kind == "bubblewrap":
        box.close()
    assert here.num_fds() <= before + 2


# --- the watchdog ---------------------------------------------------------------------------------------

SMALL = Limits(memory=3 * 2**29, processes=12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("kept = bytearray(b'x') * 450_000_000", "it used more than 1.5 GB of memory"),
        ("", "it started more than 12 processes"),
    ],
    ids=["memory", "processes"],
)
def test_the_watchdog_counts_all_processes_together(kind, stage, source, words):
    source = f"""
import os, time
for n in range({5 if source else 30}):
    if os.fork() == 0:
        {source or "pass"}
        time.sleep(600)
        os._exit(0)
time.sleep(600)"""
    with made(kind, stage, SMALL) as box:
        with kernel_in(box) as kernel:
            assert kernel.run(source, 120, 10**6).stopped == f"was ended: {words}."
        assert alone(box, "print(5)") == 5


@pytest.mark.parametrize("kind", KINDS)
def test_the_watchdog_counts_threads(kind, stage):
    source = """
import threading, time
threading.stack_size(65536)
for n in range(3000): threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
time.sleep(600)"""
    with made(kind, stage, SMALL) as box:
        with kernel_in(box) as kernel:
            ran = kernel.run(source, 120, 10**6)
            # Where the system counts too, it may be the first to say no, and IPython then finds no words.
            assert "threads" in ran.stopped or "start new thread" in ran.evalue or "exception" in ran.text
        assert alone(box, "print(5)") == 5


def test_children_that_end_all_the_time_blind_no_watchdog(stage):
    source = """
import os, time
for n in range(5):
    if os.fork() == 0:
        kept = bytearray(b"x") * 450_000_000
        time.sleep(600)
        os._exit(0)
while True:
    child = os.fork()
    if child == 0: os._exit(0)
    os.waitpid(child, 0)"""
    kind = sandbox.found()
    with made(kind, stage, SMALL) as box, kernel_in(box) as kernel:
        assert "it used more than 1.5 GB of memory" in kernel.run(source, 120, 10**6).stopped


def test_messages_that_pile_up_fill_no_memory(boxes):
    source = """
from jupyter_client.session import json_packer
kernel = get_ipython().kernel
thread, session = kernel.iopub_thread, kernel.session
content = b'{"pad":"' + b"x" * 20_000_000 + b'"}'
for n in range(100):
    parts = [json_packer(session.msg_header("status")), b"{}", b"{}", content]
    parts = [b"a", b"<IDS|MSG>", session.sign(parts), *parts]
    thread.schedule(lambda parts=parts: thread.socket.send_multipart(parts, copy=False))
import time; time.sleep(3)"""
    here = psutil.Process()
    with kernel_in(boxes(sandbox.found())) as kernel:
        before, most, ran = here.memory_info().rss, 0, []
        import threading

        worker = threading.Thread(target=lambda: ran.append(kernel.run(source, 4, 10**6)))
        worker.start()
        while worker.is_alive():
            most = max(most, here.memory_info().rss)
            time.sleep(0.05)
    assert ran and most - before < 900e6


# --- which isolation is found ---------------------------------------------------------------------------


def test_without_bubblewrap_there_are_limits_and_a_warning(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    found = sandbox.found.__wrapped__
    assert found("auto") == found("limits") == "limits"
    with pytest.raises(NoSandbox, match="grade with --isolation limits"):
        found("bubblewrap")
    for word in ("read and change your files", "network", "end your programs", "bwrap"):
        assert word in sandbox.NOT_PROTECTED


def test_a_process_that_does_not_start_is_said(tmp_path):
    broken = tmp_path / "packages" / "book" / "grading"
    broken.mkdir(parents=True)
    (broken / "zygote.py").write_text("raise SystemExit(1)")
    with made("limits", tmp_path) as box:
        with pytest.raises(NoSandbox, match="No kernel could be started"):
            box.kernel()


def test_the_package_is_covered_where_it_lies_in_a_folder_that_is_needed(stage):
    """An installed package lies in site-packages, which kernels need."""
    need("bubblewrap")
    inner = Path(sys.prefix) / "lib"
    if not os.access(inner, os.W_OK):
        pytest.skip("this Python's folder cannot be written to")
    with tempfile.TemporaryDirectory(dir=inner) as folder:
        Path(folder, "secret").write_text("42")
        look = f"import os, json; print(json.dumps(os.path.exists({folder + '/secret'!r})))"
        with made(sandbox.found(), stage) as box:
            assert alone(box, look) is True
        with made(sandbox.found(), stage, hidden=(Path(folder),)) as box:
            assert alone(box, look) is False


def test_a_hidden_folder_is_hidden_under_each_of_its_names(tmp_path):
    """An environment that is reached by a link is bound twice: what is hidden in it lies at two places."""
    (tmp_path / "real" / "lib" / "secret").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    folders = [str(tmp_path / name / "lib") for name in ("real", "link")]
    wanted = {f"{folder}/secret" for folder in folders}
    for name in ("real", "link"):
        assert sandbox._seen_as(folders, tmp_path / name / "lib" / "secret") == wanted
    assert sandbox._seen_as(folders, tmp_path / "real" / "library") == set()
