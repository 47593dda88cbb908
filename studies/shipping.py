"""How a training script ships weights: the file, and its SHA-256 in `toolkit/weights/manifest.json`."""

import hashlib
import json
from pathlib import Path

from toolkit.networks import WEIGHTS, save_weights


def ship(name, net, folder=WEIGHTS, **notes):
    """Save `net` as `name`.safetensors in `folder` and enter its SHA-256 in the manifest there. Returns the
    hash."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path, manifest = folder / f"{name}.safetensors", folder / "manifest.json"
    save_weights(net, path, **notes)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    entries = json.loads(manifest.read_text()) if manifest.exists() else {}
    entries[name] = {"file": path.name, "sha256": digest}
    manifest.write_text(json.dumps(dict(sorted(entries.items())), indent=2) + "\n")
    return digest
