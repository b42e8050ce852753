"""Every byte of a bundle is hashed while its images are sent, and nothing is taken before that has ended."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from stack.bundles.problem import BundleError, DamagedBundleError
from stack.operations.bundle.model import ReceivedModel
from stack.operations.bundle.open import find_problems, open_bundle
from stack.progress import ProgressEvent, Report


@contextmanager
def verified_beside(where: Path, model: ReceivedModel, report: Report) -> Iterator[Callable[[], None]]:
    """Verify a bundle beside the block; the block is given what waits for the end of that.

    Args:
        where: The bundle; it is opened anew, because two cannot read one open file.
        model: Given the model's bytes on the way.
        report: Told the bytes.

    Yields:
        What returns when every byte was found to be right, and raises DamagedBundleError where one was not.
    """
    stopped = threading.Event()

    def tell(event: ProgressEvent) -> None:
        if stopped.is_set():
            raise BundleError("the verification was stopped")
        report(event)

    def verify() -> None:
        opened = open_bundle(where)
        problems = find_problems(opened, tell, model.keep)
        if problems:
            raise DamagedBundleError(opened.source.where, problems)

    with ThreadPoolExecutor(1, thread_name_prefix="verify") as threads:
        verifying = threads.submit(verify)
        try:
            yield verifying.result
        except BaseException:
            stopped.set()
            raise
