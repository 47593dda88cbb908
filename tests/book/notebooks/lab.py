"""JupyterLab in a real browser, for tests: a private server, and a page that may talk to it alone."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote, urlparse

import book

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None
)


EXTENSION = Path(book.__file__).with_name("labextension")


class Lab:
    """A JupyterLab server on a copy of a folder, with settings, data and kernels of its own.

    extended: with the book's extension as it stands here, whichever was installed.
    """

    def __init__(self, folder, home, extended=True):
        self.home, self.extended = Path(home), extended
        self.root = self.home / "work"
        ignore = shutil.ignore_patterns(".ipynb_checkpoints", "__pycache__")
        shutil.copytree(folder, self.root, ignore=ignore)
        self.token = secrets.token_hex(16)

    def __enter__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}"
        names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR",
                 "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")  # fmt: skip
        folders = {name: str(self.home / name.lower()) for name in names}
        tracker = Path(folders["JUPYTERLAB_SETTINGS_DIR"], "@jupyterlab", "notebook-extension")
        tracker.mkdir(parents=True)
        # All cells in the page, also those out of sight: the test looks at them there.
        (tracker / "tracker.jupyterlab-settings").write_text(json.dumps({"windowingMode": "none"}))
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--expose-app-in-browser",
                   "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={urlparse(self.url).port}",
                   f"--ServerApp.root_dir={self.root}", "--LabApp.news_url=None",
                   "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
                   "--LabApp.extension_manager=readonly"]  # fmt: skip
        if self.extended:
            shared = self.home / "share"
            name = json.loads((EXTENSION / "package.json").read_text("utf8"))["name"]
            shutil.copytree(EXTENSION, shared / "labextensions" / name)
            folders["JUPYTER_PATH"] = str(shared)
        command += ["--allow-root"] if hasattr(os, "getuid") and os.getuid() == 0 else []
        environment = os.environ | folders | {"JUPYTER_TOKEN": self.token, "OMP_NUM_THREADS": "1"}
        self.log = open(self.home / "server.log", "wb")
        self.process = subprocess.Popen(command, env=environment, stdout=self.log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 300
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                log = (self.home / "server.log").read_text(errors="replace")
                raise RuntimeError(f"JupyterLab did not start:\n{log[-2000:]}")
            time.sleep(0.2)
        return self

    def _ask(self, path, method="GET"):
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(self.url + path, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.read()

    def _answers(self):
        try:
            return bool(self._ask("/api/status"))
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False

    def __exit__(self, *_):
        try:
            self._ask("/api/shutdown", "POST")  # ends the kernels, which have process groups of their own
            self.process.wait(60)
        except (urllib.error.URLError, ConnectionError, TimeoutError, subprocess.TimeoutExpired):
            self.process.terminate()
            self.process.wait(10)
        self.log.close()

    def end_kernels(self):
        """End all kernels, once their pages are closed: the next notebook needs the memory.

        By the server: a page that ends its own kernel may wait for it without an end.
        """
        for session in json.loads(self._ask("/api/sessions")):
            self._ask(f"/api/sessions/{session['id']}", "DELETE")

    def address(self, notebook):
        """Where the browser finds a notebook of the folder: in a workspace of its own, since a common one
        would open the notebooks of earlier tests beside it, and start their kernels.
        """
        workspace = "".join(filter(str.isalnum, notebook))
        return f"{self.url}/lab/workspaces/{workspace}/tree/{quote(notebook)}?token={self.token}"


class Page:
    """A notebook in the browser; ``.outside`` lists what it asked for elsewhere, and did not get."""

    def __init__(self, page, lab, notebook):
        self.page, self.outside = page, []
        page.set_default_timeout(120_000)
        page.route("**/*", self._route)
        page.goto(lab.address(notebook))
        page.wait_for_function(
            """() => { const w = window.jupyterapp?.shell?.currentWidget;
                       return w?.context?.isReady && w.sessionContext?.session?.kernel?.status === 'idle';
                       }"""
        )

    def _route(self, route):
        address = urlparse(route.request.url)
        if address.scheme in ("http", "https") and address.hostname not in ("127.0.0.1", "localhost"):
            self.outside.append(route.request.url)
            route.abort()
        else:
            route.continue_()

    def run_all(self, seconds=600):
        """Clear and run every cell; the errors seen by the kernel, also those inside callbacks."""
        self.page.set_default_timeout(1000 * seconds)
        self.page.evaluate(
            """async () => {
                const app = window.jupyterapp, widget = app.shell.currentWidget;
                window.kernelErrors = [];
                widget.sessionContext.session.kernel.iopubMessage.connect((_, m) => {
                    if (m.header.msg_type === 'error') window.kernelErrors.push(m.content.ename + ': ' +
                    m.content.evalue);
                    // JupyterLab asks a new kernel for its widgets before ipywidgets is imported there
                    if (m.header.msg_type === 'stream' && m.content.name === 'stderr' &&
                        !m.content.text.startsWith('No such comm'))
                        window.kernelErrors.push('stderr: ' + m.content.text);
                });
                await app.commands.execute('notebook:clear-all-cells-outputs').catch(() => null);
                await app.commands.execute('notebook:run-all-cells');
            }"""
        )
        self.page.wait_for_function(
            """() => {
                const w = window.jupyterapp.shell.currentWidget;
                const cells = Array.from(w.content.model.cells).filter(c => c.type === 'code');
                return w.sessionContext.session.kernel.status === 'idle' &&
                    (window.kernelErrors.length || cells.every(c => c.executionCount ||
                    !c.sharedModel.source.trim()));
            }"""
        )
        return self.errors()

    def errors(self):
        """Errors so far: of cells, of callbacks, of widgets that could not be drawn, and open dialogs."""
        seen = list(self.page.evaluate("() => window.kernelErrors"))
        for words in ("Error displaying widget", "Click to show javascript error"):
            if self.page.get_by_text(words).count():
                seen.append(words)
        seen += self.page.locator(".jp-Dialog").all_inner_texts()
        return seen + self.page.locator('.jupyter-widgets [role="alert"]').all_inner_texts()

    def widget_pictures(self):
        """``(src, alt)`` of each picture inside a live widget; waits until all are loaded."""
        pictures = self.page.locator(".jupyter-widgets img")
        self.page.wait_for_function(
            "() => [...document.querySelectorAll('.jupyter-widgets img')].every(i => i.naturalWidth > 1)"
        )
        return [(p.get_attribute("src"), p.get_attribute("alt")) for p in pictures.all()]

    def pictures(self):
        """The alt text of each picture in the notebook, '' where it has none; waits until all are loaded."""
        self.page.wait_for_function(
            "() => [...document.querySelectorAll('.jp-Notebook img')].every(i => i.complete)"
        )
        return self.page.evaluate("() => [...document.querySelectorAll('.jp-Notebook img')].map(i => i.alt)")

    def unnamed_fields(self):
        """The kinds of the fields in live widgets that have no label of their own."""
        return self.page.evaluate(
            """() => [...document.querySelectorAll('.jupyter-widgets input, .jupyter-widgets select')]
                .filter(f => ![...(f.labels || [])].some(l => l.textContent.trim())).map(f => f.type)"""
        )

    def press(self, slider, key):
        """Press a key on the n-th slider; the widget pictures, once one of them has changed."""
        before = self.widget_pictures()
        handle = self.page.locator(".jupyter-widgets [role=slider]").nth(slider)
        handle.scroll_into_view_if_needed()
        handle.focus()
        handle.press(key)
        self.page.wait_for_function(
            """before => { const now = [...document.querySelectorAll('.jupyter-widgets img')].map(i => i.src);
                           return now.length !== before.length || now.some((s, k) => s !== before[k]); }""",
            arg=[src for src, _ in before],
        )
        return self.widget_pictures()
