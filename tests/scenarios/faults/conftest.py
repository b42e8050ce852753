"""The private daemon of the reboot scenarios, for what would harm the machine's own."""

from tests.scenarios.reboot.conftest import make_private_stack, private_daemon, warm_models  # noqa: F401
