"""`fosp-edge motors ...`: from a cable in the hand to an arm whose limits and watchdog are proven."""

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from firmware_bridge import LinkError, LinkLostError, MotorLink, Telemetry, Torque
from firmware_bridge.buses.families import FAMILIES
from firmware_bridge.certificate import Certificate, certify
from firmware_bridge.files import write_atomically
from firmware_bridge.link import LinkCounters
from firmware_bridge.ports import UDEV_RULE, find_ports
from fosp_edge.cli.motors_access import (
    DEFAULT_CALIBRATION,
    Bus,
    CalibrationFile,
    HalfDuplex,
    Ids,
    Port,
    Release,
    WheelServos,
    Wire,
    only_port,
    wire,
)
from fosp_edge.cli.motors_by_hand import calibrate, jog
from fosp_edge.robots.serial_robot import describe_faults
from fosp_edge.robots.wires import CONTROLLER

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Find, set up, calibrate, watch, move by hand and prove the motors of a robot.",
)
_CALIBRATE = "fosp-edge motors calibrate --bus feetech --port /dev/serial/by-id/usb-... --arm so101"
app.command("calibrate", epilog=f"Example: {_CALIBRATE}")(calibrate)
app.command("jog", epilog="Example: fosp-edge motors jog --bus feetech --port /dev/serial/by-id/usb-... --speed 0.2")(
    jog
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
BACK_WITHIN_S = 60.0
"""How long `watch` waits for a port that has gone away."""
_BAUD_RATES = (1_000_000, 57_600, 115_200)


@app.command("find-port", epilog="Example: fosp-edge motors find-port --unplug")
def find_port(
    unplug: Annotated[bool, typer.Option("--unplug", help="Say which port goes away when you pull its plug.")] = False,
    udev_rule: Annotated[bool, typer.Option("--udev-rule", help="Print a udev rule for short latency.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the serial ports under the names that last, or find one by pulling its plug."""
    if udev_rule:
        typer.echo(UDEV_RULE, nl=False)
        return
    ports = find_ports()
    if unplug:
        typer.echo("pull the plug of the robot, then press Enter")
        sys.stdin.readline()
        left = {port.device for port in find_ports()}
        gone = [port for port in ports if port.device not in left]
        if len(gone) != 1:
            raise ValueError(f"{len(gone)} ports went away, one was expected: plug all in again and retry")
        typer.echo(gone[0].lasting_name)
        return
    if as_json:
        typer.echo(json.dumps([asdict(port) for port in ports], indent=2))
        return
    for port in ports:
        access = "" if port.may_open else "  (you may not open it: sudo usermod -aG dialout $USER, then log in again)"
        slow = port.latency_timer_ms is not None and port.latency_timer_ms > 1
        latency = f"  (holds bytes for {port.latency_timer_ms} ms: see --udev-rule)" if slow else ""
        typer.echo(f"{port.lasting_name}  {port.device}  {port.description}{access}{latency}")
    if not ports:
        typer.echo("no serial port is plugged in; the simulated robot needs none")


@app.command(epilog="Example: fosp-edge motors scan --port /dev/serial/by-id/usb-...")
def scan(
    port: Port = None,
    highest_id: Annotated[int, typer.Option(help="Look for servo ids 1 to this.")] = 20,
    rs485: HalfDuplex = False,
    as_json: AsJson = False,
) -> None:
    """Say what answers on a port: a controller board, or servos of which family, ids, models and baud rate."""
    name = port or only_port()
    found: list[dict[str, object]] = []
    try:
        with MotorLink(name) as link:
            found.append({"bus": CONTROLLER, **asdict(link.connect(0.5))})
    except LinkError:
        found += _scan_servos(name, highest_id, rs485)
    if not found:
        raise ValueError(f"nothing answers on {name}: check power and plugs; --highest-id looks for more ids")
    typer.echo(json.dumps(found, indent=2) if as_json else "\n".join(map(_describe, found)))


def _describe(one: dict[str, object]) -> str:
    return "  ".join(f"{key} {value}" for key, value in one.items() if key != "capabilities")


def _scan_servos(port: str, highest_id: int, rs485: bool) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for family in FAMILIES.values():
        for baud_rate in _BAUD_RATES:
            bus = wire(port, family.name, "1", rs485=rs485).open_bus(port, baud_rate)
            try:
                motors = bus.scan(range(1, highest_id + 1))
            finally:
                bus.close()
            found += [{"bus": family.name, "baud_rate": baud_rate, **asdict(motor)} for motor in motors]
            if motors:
                break
    return found


@app.command(epilog="Example: fosp-edge motors setup --bus feetech --id 3 --centre")
def setup(
    bus: Annotated[str, typer.Option(help=f"Family of the servo: {', '.join(FAMILIES)}.")],
    new_id: Annotated[int, typer.Option("--id", help="Id the servo shall have.")],
    port: Port = None,
    present_id: Annotated[int, typer.Option(help="Id it has now; new servos have 1.")] = 1,
    baud_rate: Annotated[
        int | None,
        typer.Option(help="Its baud rate now (`scan` says it): new Dynamixel X have 57600, Feetech 1000000."),
    ] = None,
    return_delay_us: Annotated[
        int, typer.Option(help="How long it waits before it answers, for adapters that turn the line round slowly.")
    ] = 0,
    centre: Annotated[bool, typer.Option(help="Make the present position the middle of its range.")] = False,
    wheel: Annotated[
        bool, typer.Option("--wheel", help="It is a wheel: velocity control in place of position control. Dynamixel X.")
    ] = False,
    rs485: HalfDuplex = False,
) -> None:
    """Set one servo up: id, 1 Mbaud, position control (or --wheel), answer at once. Have only this one on the line."""
    chosen = wire(port, bus, str(present_id), rs485=rs485, wheels=wheel)
    if chosen.bus == CONTROLLER:
        raise ValueError(f"setup is for servos: --bus {' or '.join(FAMILIES)}")
    line = chosen.open_bus(chosen.port, baud_rate)
    try:
        line.handshake()
        line.write_register(present_id, "torque_enable", 0)
        line.change_baud_rate(present_id, line.family.default_baud_rate)
        line.change_id(present_id, new_id)
        line.motor_ids = (new_id,)
        line.prepare(return_delay_us)
        if centre:
            line.centre(new_id)
        [motor] = line.handshake()
    finally:
        line.close()
    typer.echo(f"{motor.model_name} on {chosen.port} now has id {motor.motor_id}")


@app.command(epilog="Example: fosp-edge motors watch --bus dynamixel --ids 1,2,4,6,7,8")
def watch(
    port: Port = None,
    bus: Bus = CONTROLLER,
    ids: Ids = "1-6",
    calibration_file: CalibrationFile = DEFAULT_CALIBRATION,
    rs485: HalfDuplex = False,
    wheels: WheelServos = False,
    seconds: Annotated[float | None, typer.Option(help="Stop after this long; Ctrl-C if left out.")] = None,
) -> None:
    """Show positions, velocities, currents and temperatures, live. Nothing is armed."""
    chosen = wire(port, bus, ids, calibration_file, rs485, wheels=wheels)
    with chosen.link(calibrated=False) as link, Live(console=Console(), refresh_per_second=10) as live:
        handshake = link.connect()
        until_s = None if seconds is None else time.monotonic() + seconds
        while until_s is None or time.monotonic() < until_s:
            try:
                telemetry = link.latest()
            except LinkLostError as gone:
                live.update(f"{gone} Waiting for it to come back.")
                handshake = link.reconnect(BACK_WITHIN_S)
                continue
            if telemetry is not None:
                live.update(_table(handshake.name, telemetry))
            time.sleep(0.1)
        typer.echo(_counted(link.counters()))


def _counted(counters: LinkCounters) -> str:
    """Everything that was dropped or refused or went wrong since the start, at both ends."""
    ends = (vars(counters.controller), vars(counters.host), counters.bus)
    good = ("bytes_received", "frames_received", "commands_applied", "telemetry_sent", "requests")
    bad = {name: count for end in ends for name, count in end.items() if count and name not in good}
    return "errors: " + (", ".join(f"{name} {count}" for name, count in bad.items()) or "none")


def _table(name: str, now: Telemetry) -> Table:
    faults = f", {describe_faults(now.faults)}" if now.faults else ""
    table = Table(title=f"{name}: {now.state.name}, {now.voltage_v:.1f} V{faults}", box=None)
    for column in ("joint", "position rad", "velocity rad/s", "current A", "temperature °C", "errors"):
        table.add_column(column, justify="right")
    columns = (now.position_rad, now.velocity_rad_s, now.current_a, now.temperature_c, now.joint_errors)
    for joint, (position, velocity, current, temperature, errors) in enumerate(zip(*columns, strict=True)):
        values = (f"{position:+.4f}", f"{velocity:+.4f}", f"{current:+.3f}", f"{temperature:.1f}")
        table.add_row(str(joint), *values, str(errors or ""))
    return table


@app.command("test", epilog="Example: fosp-edge motors test --bus feetech --out certificate.json")
def prove(
    port: Port = None,
    bus: Bus = CONTROLLER,
    ids: Ids = "1-6",
    calibration_file: CalibrationFile = DEFAULT_CALIBRATION,
    rs485: HalfDuplex = False,
    wheels: WheelServos = False,
    out: Annotated[Path | None, typer.Option(help="Write the certificate here, as JSON.")] = None,
) -> None:
    """Prove watchdog, limits and stop on what is connected, and print a certificate. Nothing moves noticeably."""
    chosen = wire(port, bus, ids, calibration_file, rs485, wheels=wheels)
    with chosen.link(calibrated=False) as link:
        certificate = certify(link, link.connect())
    for check in certificate.checks:
        mark = typer.style("passed", fg="green") if check.passed else typer.style("FAILED", fg="red")
        typer.echo(f"{mark}  {check.name}: {check.measured}")
    if out is not None:
        write_atomically(out, _certificate_json(chosen.port, certificate))
    if not certificate.passed:
        raise ValueError(f"{certificate.controller.name} did not pass: do not let it move anything")


def _certificate_json(port: str, certificate: Certificate) -> str:
    made = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    content = {"port": port, "made_utc": made, "passed": certificate.passed, **asdict(certificate)}
    return json.dumps(content, indent=2) + "\n"


@app.command(epilog="Example: fosp-edge motors stop --bus feetech --release")
def stop(
    port: Port = None,
    bus: Bus = CONTROLLER,
    ids: Ids = "1-6",
    release: Release = False,
    rs485: HalfDuplex = False,
) -> None:
    """Stop the motors and keep them stopped; they hold where they are unless --release is given."""
    chosen = wire(port, bus, ids, rs485=rs485)
    if bus != CONTROLLER:
        typer.echo(_stop_servos(chosen, release=release))
        return
    with chosen.link() as link:
        link.connect()
        if not link.stop():
            raise ValueError("the controller did not acknowledge: cut the motors' power")
        if release:
            link.disarm(Torque.OFF)
    typer.echo("stopped" + ("; torque is off" if release else "; holding"))


def _stop_servos(chosen: Wire, *, release: bool) -> str:
    line = chosen.open_bus(chosen.port)
    try:
        if release:
            # All at once first, then one by one to be certain.
            line.broadcast_torque_off()
            line.set_torque(False)
            return "torque is off"
        holding = line.hold_here()
        return f"stopped; {holding} of {len(line.motor_ids)} motors hold, the others have no torque"
    finally:
        line.close()
