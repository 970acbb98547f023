"""`fosp-edge service`: the run as a systemd service, watched and restarted, released only by a person."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import fosp_edge
from fosp_edge.cli.files import write_atomically
from fosp_edge.control.latch import StopLatch

NAME = "fosp-edge.service"
app = typer.Typer(no_args_is_help=True, help="Run as a systemd service, with watchdog and restarts.")
System = Annotated[bool, typer.Option("--system", help="For the whole machine, not for this user; needs root.")]

_UNIT = """\
[Unit]
Description=fosp-edge: a policy drives a robot
Documentation=https://github.com/fosp-edge/fosp-edge/tree/main/docs
StartLimitIntervalSec=120
StartLimitBurst=5

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
WorkingDirectory={folder}
Environment=PYTHONUNBUFFERED=1{path}
# No sign of life for so long, and it is killed; the motors' own watchdog has stopped them long before.
WatchdogSec=5
WatchdogSignal=SIGKILL
TimeoutStartSec=120
TimeoutStopSec=30
KillSignal=SIGTERM
# SIGTERM is for the run alone: its helpers (a simulated arm among them) are needed until the motors have confirmed
# the stop.
KillMode=mixed
# 143: ended by SIGTERM, as asked. 2: refused, for instance because a stop is latched: only a person mends that.
SuccessExitStatus=143
RestartPreventExitStatus=2
Restart=on-failure
RestartSec=3
LimitRTPRIO=80
LimitMEMLOCK=infinity

[Install]
WantedBy={target}
"""

_WITHOUT_END = ("--episodes", "1000000000")
"""A service goes on until it is stopped."""


def unit_text(options: list[str], *, system: bool) -> str:
    """The unit that runs `fosp-edge run` with these options."""
    root = str(Path(fosp_edge.__file__).resolve().parents[1])
    ends = any(option.partition("=")[0] in ("--episodes", "--seconds") for option in options)
    command = [sys.executable, "-m", "fosp_edge.cli", "run", "--headless", *options, *(() if ends else _WITHOUT_END)]
    if any("\n" in part for part in command):
        raise ValueError("an option with a line break cannot stand in a unit")
    quoted = " ".join(shlex.quote(part).replace("%", "%%").replace("$", "$$") for part in command)
    installed = "site-packages" in root or "dist-packages" in root
    return _UNIT.format(
        command=quoted,
        folder=Path.cwd(),
        path="" if installed else f"\nEnvironment=PYTHONPATH={root}",
        target="multi-user.target" if system else "default.target",
    )


def _folder(system: bool) -> Path:
    if system:
        return Path("/etc/systemd/system")
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd/user"


def _systemctl(system: bool, *words: str) -> "subprocess.CompletedProcess[str] | None":
    """Run systemctl; None where there is none."""
    program = shutil.which("systemctl")
    if program is None:
        return None
    scope = [] if system else ["--user"]
    return subprocess.run([program, *scope, *words], capture_output=True, text=True, check=False)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def install(
    context: typer.Context,
    system: System = False,
    start: Annotated[bool, typer.Option(help="Enable and start it at once.")] = True,
) -> None:
    """Install `fosp-edge run` with the options that follow as a service.

    Example: fosp-edge service install -- --robot serial --port /dev/serial/by-id/usb-arm --yes --realtime
    """
    console = Console()
    path = _folder(system) / NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, unit_text(context.args, system=system).encode())
    console.print(f"written: {path}", highlight=False, soft_wrap=True)
    word = "systemctl" if system else "systemctl --user"
    wanted = [("daemon-reload",), ("enable", "--now", NAME)] if start else [("daemon-reload",)]
    for words in wanted:
        done = _systemctl(system, *words)
        if done is None or done.returncode:
            reason = "there is no systemctl here" if done is None else done.stderr.strip()
            console.print(f"not started ({reason}); where systemd runs: {word} {' '.join(words)}", soft_wrap=True)
            raise typer.Exit(1)
    if start:
        console.print(f"running; its words: journalctl {'' if system else '--user '}-u {NAME}", highlight=False)


@app.command()
def status(system: System = False) -> None:
    """Say whether the service is installed and running.

    Example: fosp-edge service status
    """
    console = Console()
    if not (_folder(system) / NAME).exists():
        console.print("not installed; fosp-edge service install -- OPTIONS OF RUN")
        raise typer.Exit(1)
    done = _systemctl(system, "show", NAME, "--property=ActiveState,StatusText,NRestarts,Result")
    if done is None:
        console.print("installed; there is no systemctl here to ask whether it runs")
        raise typer.Exit(1)
    console.print(done.stdout.strip() or done.stderr.strip(), highlight=False)
    raise typer.Exit(0 if "ActiveState=active" in done.stdout else 1)


@app.command()
def uninstall(system: System = False) -> None:
    """Stop the service and remove it.

    Example: fosp-edge service uninstall
    """
    path = _folder(system) / NAME
    if not path.exists():
        Console().print("not installed")
        raise typer.Exit(1)
    _systemctl(system, "disable", "--now", NAME)
    path.unlink()
    _systemctl(system, "daemon-reload")
    Console().print(f"removed: {path}", highlight=False, soft_wrap=True)


@app.command()
def release(port: Annotated[str, typer.Option(help="Port of the motors whose stop is latched.")]) -> None:
    """Release a latched stop, so that the next run may arm the motors: an operator's word.

    Example: fosp-edge service release --port /dev/serial/by-id/usb-arm
    """
    latch = StopLatch(port)
    sentence = latch.sentence
    released = latch.release()
    Console().print(f"released: {sentence}" if released else f"nothing is latched for {port}", soft_wrap=True)
