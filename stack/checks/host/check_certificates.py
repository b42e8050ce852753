"""Files of trusted certificates that variables name."""

from __future__ import annotations

import os
from pathlib import Path

from stack.checks.host.check import HostCheck, HostContext, Outcome

# Who reads which: OpenSSL and httpx; requests (the docker SDK, old hub tools); pip; curl; Node is not ours.
_FILES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT")
_FOLDERS = ("SSL_CERT_DIR", "DOCKER_CERT_PATH")
_BEGIN = b"-----BEGIN"


def run(context: HostContext) -> Outcome:
    """See that each variable names what is there and can be read."""
    environ, root = context.world.environ, context.world.root
    faults, named = [], {}
    for name in (*_FILES, *_FOLDERS):
        value = environ.get(name)
        if not value:
            continue
        named[name] = value
        path = root / value.lstrip("/") if value.startswith("/") else Path(value)
        problem = find_problem(path, is_folder=name in _FOLDERS)
        if problem:
            faults.append(f"{name} names {value}, {problem}")
    if faults:
        return Outcome(
            "warn",
            "; ".join(faults),
            hint="unset it, or name a file with certificates in PEM form (Debian: /etc/ssl/certs/ca-certificates.crt)",
            why="every HTTPS request of whatever reads that variable fails",
            data={"variables": named},
        )
    if not named:
        return Outcome("pass", "the certificates of this system are used")
    return Outcome("pass", f"certificates are those of {', '.join(named)}", data={"variables": named})


def find_problem(path: Path, *, is_folder: bool) -> str | None:
    """Say what is wrong with a file or folder of certificates."""
    if not path.exists():
        return "which does not exist"
    if is_folder:
        return None if path.is_dir() else "which is no folder"
    if path.is_dir():
        # requests and curl take a folder of hashed names here, too.
        return None
    if not os.access(path, os.R_OK):
        return "which this user may not read"
    with path.open("rb") as file:
        return None if _BEGIN in file.read(1 << 20) else "which holds no certificate in PEM form"


CHECK = HostCheck("certificates", run, order=450)
