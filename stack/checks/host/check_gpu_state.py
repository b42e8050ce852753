"""The state of the GPUs that the engine gets: lost ones, modes that keep it out, memory errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from stack.checks.gpu_state import GpuState, read_gpu_states
from stack.checks.host.check import HostCheck, HostContext, Outcome


@dataclass(frozen=True)
class Trouble:
    """Something about a GPU; `is_blocking` where the engine cannot run on it."""

    is_blocking: bool
    message: str
    hint: str
    why: str


def run(context: HostContext) -> Outcome:
    """Judge the state of each GPU."""
    report, engine = context.read_gpus(), context.target.engine
    if not report.gpus:
        return Outcome("skip", "no GPU answers")
    states = context.once("gpu-states", lambda: read_gpu_states(context.world.nvml))
    wanted = [state for state in states if not engine.gpu_indexes or state.index in engine.gpu_indexes]
    names = {gpu.index: gpu.name for gpu in report.gpus}
    troubles = [
        Trouble(
            False,
            f"GPU {index} does not answer ({words})",
            "`sudo dmesg | grep -i xid` tells why; a reboot brings back one that fell off the bus",
            "the driver may hang when it is used, for the other GPUs too",
        )
        for index, words in report.unreadable
    ]
    for state in wanted:
        troubles += find_troubles(state, f"GPU {state.index} ({names.get(state.index, 'unknown')})")
    data = {"gpus": [_build_row(state) for state in wanted], "unreadable": [list(one) for one in report.unreadable]}
    if not troubles:
        return Outcome("pass", _describe(wanted), data=data)
    troubles.sort(key=lambda trouble: not trouble.is_blocking)
    first = troubles[0]
    message = "; ".join(trouble.message for trouble in troubles)
    if engine.device_asked == "cpu" or engine.device == "cpu":
        return Outcome("skip", message, data=data)
    return Outcome("fail" if first.is_blocking else "warn", message, first.hint, data, first.why)


def find_troubles(state: GpuState, name: str) -> list[Trouble]:
    """Name what is wrong with one GPU."""
    return [*_find_mode_troubles(state, name), *_find_memory_troubles(state, name)]


def _find_mode_troubles(state: GpuState, name: str) -> list[Trouble]:
    found = []
    if state.compute_mode == "prohibited":
        hint, why = f"`sudo nvidia-smi -i {state.index} -c DEFAULT`", "no process may compute on it"
        found.append(Trouble(True, f"{name} is in compute mode `prohibited`", hint, why))
    elif state.compute_mode in ("exclusive-process", "exclusive-thread"):
        users = [process for process in state.processes or () if process.kind == "compute"]
        why = "only one process may compute on it" + (f", and process {users[0].pid} does" if users else "")
        hint = f"`sudo nvidia-smi -i {state.index} -c DEFAULT`"
        found.append(Trouble(bool(users), f"{name} is in compute mode `{state.compute_mode}`", hint, why))
    if state.is_mig:
        found.append(
            Trouble(
                True,
                f"{name} is cut into MIG instances",
                f'`sudo nvidia-smi -i {state.index} -mig 0`, or name an instance: `devices = ["MIG-…"]` under '
                "`[engine]` (`nvidia-smi -L`)",
                "a process gets one instance, never the whole board, and its memory is that of the instance",
            )
        )
    elif state.is_mig_pending:
        hint = "finish it with a reset (`sudo nvidia-smi --gpu-reset`), or take it back: `sudo nvidia-smi -mig 0`"
        found.append(Trouble(False, f"{name} changes to MIG at its next reset", hint, "it would be cut from then on"))
    return found


def _find_memory_troubles(state: GpuState, name: str) -> list[Trouble]:
    found = []
    reset = f"end what uses it, then `sudo nvidia-smi -i {state.index} --gpu-reset`, or reboot"
    if state.is_repair_failed:
        hint, why = "have the board replaced", "memory that fails cannot be taken out of use: answers may be wrong"
        found.append(Trouble(False, f"{name} could not replace rows of its memory", hint, why))
    if state.is_repair_pending:
        why = "until then what is computed may fail or be wrong"
        found.append(Trouble(False, f"{name} waits for a reset to replace rows of its memory", reset, why))
    if state.uncorrected_errors:
        why = "a process that met one was ended, and more may follow"
        said = f"{name} had {state.uncorrected_errors} memory errors that could not be corrected"
        found.append(Trouble(False, said, reset, why))
    if state.is_ecc_pending:
        now, then = ("on", "off") if state.is_ecc else ("off", "on")
        why = "its memory gets larger or smaller with it, and what was sized for it will not fit"
        found.append(Trouble(False, f"{name} has ECC {now}, and {then} from its next reset", reset, why))
    return found


def _describe(states: list[GpuState]) -> str:
    modes = {state.compute_mode for state in states if state.compute_mode}
    said = f"compute mode {', '.join(sorted(modes))}" if modes else "nothing unusual"
    ecc = [state.is_ecc for state in states if state.is_ecc is not None]
    if ecc:
        said += f", ECC {'on' if all(ecc) else 'off'}"
    if any(state.is_persistent is False for state in states):
        # Under a second on one board; minutes on machines with many.
        said += "; persistence is off, so the driver loads anew at each start"
    return said


def _build_row(state: GpuState) -> Mapping[str, Any]:
    row = asdict(state)
    del row["processes"]
    return row


CHECK = HostCheck("gpu-state", run, order=120, is_quick=True)
