"""Examination of the machine itself: scheduling, processor, memory, shared memory, disk."""

import os
import resource
import statistics
import time
from collections.abc import Sequence
from tempfile import TemporaryFile

from fosp_edge.cli.findings import Finding, Health, Machine

_MIB, _GIB = 1 << 20, 1 << 30
_LOCKED_BYTES = 512 * _MIB
_SHARED_BYTES = 16 * _MIB
_DISK_BYTES = 2 * _GIB
_MEMORY_KIB = 1 << 20
_SYNC_LIMIT_S = 0.1
_LIMITS_FILE = "/etc/security/limits.d/fosp-edge.conf"


def scheduling(machine: Machine) -> Sequence[Finding]:
    """Whether the control loop may be given precedence, and its memory be kept from being paged out."""
    refusal = _try_real_time()
    kernel = "real-time kernel" if machine.read("sys/kernel/realtime") == "1" else "ordinary kernel"
    if refusal is None:
        first = Finding("scheduling", "real-time priority", Health.OK, f"may be used; {kernel}")
    else:
        mend = f"echo '@dialout - rtprio 80' | sudo tee -a {_LIMITS_FILE}, then log out and in again"
        detail = f"not allowed ({refusal}); {kernel}; other processes can make the control loop late"
        first = Finding("scheduling", "real-time priority", Health.WARN, detail, mend)
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft == resource.RLIM_INFINITY or soft >= _LOCKED_BYTES:
        amount = "without limit" if soft == resource.RLIM_INFINITY else f"up to {soft // _MIB} MiB"
        second = Finding("scheduling", "locked memory", Health.OK, amount)
    else:
        mend = f"echo '@dialout - memlock unlimited' | sudo tee -a {_LIMITS_FILE}, then log out and in again"
        detail = f"only {soft / _MIB:.1f} MiB; pages of the control loop may be swapped out"
        second = Finding("scheduling", "locked memory", Health.WARN, detail, mend)
    return [first, second]


def processor(machine: Machine) -> Sequence[Finding]:
    """How many cores, and whether they slow down between ticks."""
    count = len(os.sched_getaffinity(0))
    findings = [Finding("processor", "cores", Health.OK, f"{count} for this process")]
    if count == 1:
        detail = "one for this process: a learner beside the control loop will be slow"
        findings = [Finding("processor", "cores", Health.WARN, detail)]
    found = {
        machine.read(str(path.relative_to(machine.root)))
        for path in machine.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")
    }
    governors = sorted(name for name in found if name)
    if not governors:
        findings.append(Finding("processor", "frequency", Health.OK, "not set from here"))
    elif governors == ["performance"]:
        findings.append(Finding("processor", "frequency", Health.OK, "governor performance"))
    else:
        mend = "sudo cpupower frequency-set -g performance (on a Jetson: sudo jetson_clocks)"
        detail = f"governor {', '.join(governors)}: cores slow down between ticks, and latency gets a tail"
        findings.append(Finding("processor", "frequency", Health.WARN, detail, mend))
    return findings


def memory(machine: Machine) -> Sequence[Finding]:
    """Free memory, and the shared memory that pictures travel through."""
    findings = []
    for line in (machine.read("proc/meminfo") or "").splitlines():
        if line.startswith("MemAvailable:"):
            free_kib = int(line.split()[1])
            enough = free_kib >= _MEMORY_KIB
            detail = f"{free_kib / 1024 / 1024:.1f} GiB available"
            mend = "" if enough else "close other programs; a run needs about 0.5 GiB, training more"
            findings.append(Finding("memory", "memory", Health.OK if enough else Health.WARN, detail, mend))
    return [*findings, _shared_memory(machine)]


def _shared_memory(machine: Machine) -> Finding:
    folder = machine.root / "dev/shm"
    name, mend = "shared memory", "sudo mount -t tmpfs tmpfs /dev/shm (in a container: start it with --shm-size=256m)"
    try:
        usage = os.statvfs(folder)
    except OSError:
        return Finding("memory", name, Health.MISSING, "there is none", mend, essential=True)
    free = usage.f_bavail * usage.f_frsize
    if not os.access(folder, os.W_OK) or free < _SHARED_BYTES:
        detail = f"{free / _MIB:.0f} MiB free in /dev/shm, which pictures travel through"
        return Finding("memory", name, Health.MISSING, detail, mend, essential=True)
    return Finding("memory", name, Health.OK, f"{free / _MIB:.0f} MiB free in /dev/shm")


def disk(machine: Machine) -> Sequence[Finding]:
    """Room for experience, and how long one durable write takes."""
    folder = machine.folder.resolve()
    while not folder.exists():
        folder = folder.parent
    usage = os.statvfs(folder)
    free = usage.f_bavail * usage.f_frsize
    enough = free >= _DISK_BYTES
    mend = "" if enough else "free some space; an hour of experience with two cameras takes up to 1.7 GiB"
    room = Finding(
        "disk", "room", Health.OK if enough else Health.WARN, f"{free / _GIB:.1f} GiB free in {folder}", mend
    )
    try:
        latency_s = _sync_latency_s(str(folder))
    except OSError as error:
        detail = f"cannot write in {folder} ({error.strerror})"
        return [room, Finding("disk", "durable write", Health.WARN, detail, "go to a folder of your own, or use --out")]
    quick = latency_s <= _SYNC_LIMIT_S
    return [
        room,
        Finding(
            "disk",
            "durable write",
            Health.OK if quick else Health.WARN,
            f"{latency_s * 1e3:.1f} ms, median of ten",
            "" if quick else "record on a faster disk, with --out; the tick never waits, but records may be dropped",
        ),
    ]


def _sync_latency_s(folder: str) -> float:
    times = []
    with TemporaryFile(dir=folder) as file:
        for _ in range(10):
            started = time.monotonic()
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
            times.append(time.monotonic() - started)
    return statistics.median(times)


def _try_real_time() -> str | None:
    """Ask for the lowest real-time priority and give it back; returns why it was refused, or None."""
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError as error:
        return (error.strerror or str(error)).lower()
    os.sched_setscheduler(0, policy, parameters)
    return None
