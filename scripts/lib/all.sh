# shellcheck shell=bash
# shellcheck disable=SC2034  # read by the parts below
# The parts that `up`, `test` and `host-setup` share. ROOT is the checkout.

VENV_GROUPS=build                # or "build dev": which packages of the lock go into .venv
ASSUME_YES=no DRY_RUN=no         # --yes, --dry-run
WANT_DEVICE=auto WANT_IMAGES=auto # what `stack up` was asked for

# shellcheck source=scripts/lib/say.sh
source "$ROOT/scripts/lib/say.sh"
# shellcheck source=scripts/lib/facts.sh
source "$ROOT/scripts/lib/facts.sh"
# shellcheck source=scripts/lib/venv.sh
source "$ROOT/scripts/lib/venv.sh"
# shellcheck source=scripts/lib/plan.sh
source "$ROOT/scripts/lib/plan.sh"
# shellcheck source=scripts/lib/commands.sh
source "$ROOT/scripts/lib/commands.sh"
# shellcheck source=scripts/lib/carry-out.sh
source "$ROOT/scripts/lib/carry-out.sh"
