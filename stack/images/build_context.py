"""What a build is given of this machine: files beside the Dockerfile, and secrets that no layer keeps."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from stack.images.packages import render_requirements
from stack.images.recipe import ImageRecipe

# Where Debian, Red Hat, SUSE and Alpine keep the certificates that the system trusts.
_SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
_SECRETS = ("ca_bundle", "apt_conf", "pip_conf")
# BuildKit writes there what the build came to.
IMAGE_ID_FILE = "image-id"


@dataclass(frozen=True)
class BuildSettings:
    """What of this machine a build needs, and must not leave a trace of in the image.

    Attributes:
        environ: The caller's environment, for proxy settings.
        ca_bundles: Files of certificates to trust (a corporate proxy's beside the system's).
        find_links: Folders of wheels that pip may take instead of asking an index.
        find_links_urls: Pages that list more wheels.
        index_urls: Package indexes, the first in place of PyPI; none for PyPI alone.
        retries: How often a download that failed is tried again.
        wheel: The engine's own wheel, where it is here already.
    """

    environ: Mapping[str, str]
    ca_bundles: tuple[Path, ...] = ()
    find_links: tuple[Path, ...] = ()
    find_links_urls: tuple[str, ...] = ()
    index_urls: tuple[str, ...] = ()
    retries: int = 4
    wheel: Path | None = None


def build_settings(
    environ: Mapping[str, str],
    *,
    ca_bundle: Path | None = None,
    index_url: str | None = None,
    find_links: str | None = None,
    retries: int = 4,
) -> BuildSettings:
    """Give a build's settings: the configuration's, else what pip and this user's other tools go by.

    Args:
        environ: The caller's environment.
        ca_bundle: `images.ca-bundle`; trusted beside what this machine trusts.
        index_url: `images.pip-index-url`.
        find_links: `images.pip-find-links`, a folder or a URL.
        retries: `images.retries`.
    """
    found = find_ca_bundle(environ)
    links = [find_links] if find_links else environ.get("PIP_FIND_LINKS", "").split()
    folders = [link for link in links if "://" not in link or link.startswith("file:")]
    more = environ.get("PIP_EXTRA_INDEX_URL", "").split()
    # Of the folders that an index URL may name nothing is there in the build.
    indexes = ["" if url.startswith("file:") else url for url in (index_url or environ.get("PIP_INDEX_URL", ""), *more)]
    return BuildSettings(
        environ=environ,
        ca_bundles=tuple(path for path in (ca_bundle, found) if path is not None),
        find_links=tuple(_read_folder(link) for link in folders),
        find_links_urls=tuple(link for link in links if link not in folders),
        index_urls=tuple(indexes) if any(indexes) else (),
        retries=retries,
    )


def find_ca_bundle(environ: Mapping[str, str]) -> Path | None:
    """Give the certificate file that this user's tools trust, by the usual variables, else the system's."""
    names = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
    candidates = [environ[name] for name in names if environ.get(name)] + list(_SYSTEM_BUNDLES)
    return next((Path(name) for name in candidates if Path(name).is_file()), None)


def write_context(folder: Path, recipe: ImageRecipe, settings: BuildSettings) -> dict[str, Path]:
    """Write what a build takes: the recipe's files, wheels, and the secrets, whose files it gives by id.

    Wheels go in by hard link where the file system allows it: named build contexts would be neater, but
    Engine 20.10's BuildKit front end refuses them ("unsupported frontend capability").
    """
    for path in recipe.folder.iterdir():
        if path.is_file():
            shutil.copy2(path, folder / path.name)
    links = folder / "find-links"
    links.mkdir()
    if recipe.service == "engine":
        own = [settings.wheel] if settings.wheel is not None else []
        for wheel in (*own, *(path for found in settings.find_links for path in sorted(found.glob("*.whl")))):
            if not (links / wheel.name).exists():
                _link(wheel, links / wheel.name)
        locked = render_requirements(recipe.locked, platform.machine()) if recipe.locked is not None else ""
        (folder / "locked.txt").write_text(locked)
    certificates = "\n".join(path.read_text() for path in settings.ca_bundles)
    texts = {
        "ca_bundle": certificates,
        "apt_conf": render_apt_conf(settings, trusts=bool(certificates)),
        "pip_conf": render_pip_conf(settings),
    }
    for name in _SECRETS:
        (folder / name).write_text(texts[name])
    (folder / ".dockerignore").write_text("\n".join((*_SECRETS, IMAGE_ID_FILE, ".dockerignore")) + "\n")
    return {name: folder / name for name in _SECRETS}


def render_apt_conf(settings: BuildSettings, *, trusts: bool = True) -> str:
    """Give apt's settings for a build: retries, the certificates to trust, and the proxies of the caller."""
    lines = [f'Acquire::Retries "{settings.retries}";', 'Dpkg::Use-Pty "0";']
    if trusts:
        # apt downloads as `_apt`, which may not read a secret; the build's container is thrown away.
        lines += ['Acquire::https::CAInfo "/run/secrets/ca_bundle";', 'APT::Sandbox::User "root";']
    for scheme in ("http", "https"):
        proxy = settings.environ.get(f"{scheme}_proxy") or settings.environ.get(f"{scheme.upper()}_PROXY")
        if proxy:
            lines.append(f'Acquire::{scheme}::Proxy "{proxy}";')
    return "\n".join(lines) + "\n"


def render_pip_conf(settings: BuildSettings) -> str:
    """Give pip's settings for a build: retries, and indexes and links, whose URLs may hold a password."""
    values = {
        "retries": [str(settings.retries)],
        "timeout": [settings.environ.get("PIP_DEFAULT_TIMEOUT", "")],
        "index-url": settings.index_urls[:1],
        "extra-index-url": settings.index_urls[1:],
        "find-links": settings.find_links_urls,
    }
    lines = ["[global]"]
    for name, items in values.items():
        if any(items):
            lines.append(f"{name} = " + "\n    ".join(item for item in items if item))
    return "\n".join(lines) + "\n"


def _read_folder(link: str) -> Path:
    return Path(unquote(urlsplit(link).path)) if link.startswith("file:") else Path(link).expanduser()


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
