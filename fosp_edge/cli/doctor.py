"""`fosp-edge doctor`: what this machine has and lacks, and how to mend it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from fosp_edge.cli.check_devices import cameras, serial_ports
from fosp_edge.cli.check_machine import disk, memory, processor, scheduling
from fosp_edge.cli.check_software import agent, extras, gpu, inference, software
from fosp_edge.cli.findings import Check, Finding, Health, Machine, can_run

CHECKS: tuple[Check, ...] = (
    software, inference, gpu, agent, cameras, serial_ports, scheduling, processor, memory, disk, extras,
)  # fmt: skip
_STYLES = {Health.OK: "green", Health.WARN: "yellow", Health.MISSING: "red"}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
    folder: Annotated[Path, typer.Option(help="Where runs will be recorded.")] = Path(),
) -> None:
    """Look at everything a robot needs: software, inference, cameras, serial ports, scheduling, memory, disk.

    Each finding is ok, warn or missing, with the command that mends it. The exit status is 0 unless `fosp-edge run`
    could not work at all.
    """
    findings = examine(Machine(folder=folder))
    if as_json:
        report = {"can_run": can_run(findings), "findings": [asdict(finding) for finding in findings]}
        typer.echo(json.dumps(report, indent=2))
    else:
        _print(findings)
    if not can_run(findings):
        raise typer.Exit(1)


def examine(machine: Machine, checks: Sequence[Check] = CHECKS) -> list[Finding]:
    """Everything that was found. A check that fails itself is a finding too, never an end."""
    findings: list[Finding] = []
    for check in checks:
        findings += _attempt(check, machine)
    return _with_robot(findings)


def _attempt(check: Check, machine: Machine) -> Sequence[Finding]:
    try:
        return check(machine)
    except Exception as error:  # an examination goes on, whatever one part of the machine answers
        detail = f"could not be examined ({type(error).__name__}: {error})"
        return [Finding(check.__name__.replace("_", " "), "examination", Health.WARN, detail)]


def _with_robot(findings: list[Finding]) -> list[Finding]:
    """Without a simulator and without a serial port there is no robot to run: then both are essential."""
    simulator = [finding for finding in findings if (finding.topic, finding.name) == ("extras", "simulation")]
    ports = [finding for finding in findings if finding.topic == "serial ports"]
    lacking = [finding for finding in simulator + ports if finding.health is Health.MISSING]
    if not simulator or len(lacking) < len(simulator) + len(ports):
        return findings
    return [replace(finding, essential=True) if finding in lacking else finding for finding in findings]


def _print(findings: Sequence[Finding]) -> None:
    from rich.console import Console
    from rich.markup import escape

    # Lines are not wrapped here: a command that mends something must survive being copied.
    console = Console(soft_wrap=True, highlight=False)
    topic = ""
    for finding in findings:
        if finding.topic != topic:
            console.print(f"[bold]{escape(finding.topic)}[/]")
        topic = finding.topic
        style = _STYLES[finding.health]
        console.print(f"  [{style}]{finding.health.value:<8}[/]{escape(finding.name)}: {escape(finding.detail)}")
        if finding.mend and finding.health is not Health.OK:
            console.print(f"          [bold]-> {escape(finding.mend)}[/]")
    lacking = [finding.name for finding in findings if finding.essential and finding.health is Health.MISSING]
    if lacking:
        console.print(f"\n[red]`fosp-edge run` cannot work here yet[/]: mend {escape(', '.join(lacking))} first")
    else:
        console.print("\n[green]`fosp-edge run` can work here[/]")
