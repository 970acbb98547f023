"""Every verb of the command line: where it lives, what it does, how it is used. A new verb is one more line here."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Verb:
    """One command, described so that help and completion need not import it."""

    target: str
    """`module:attribute`; the attribute is a function, or a `typer.Typer` with commands of its own."""
    summary: str
    example: str
    panels: Mapping[str, str] = field(default_factory=dict)
    """Under which heading of the help an option stands, by the parameter's name; the others come first."""
    only_with: Mapping[str, str] = field(default_factory=dict)
    """Options that say nothing unless another one is given, too, by the parameters' names. Alone they are refused: who
    names data to learn from and forgets `--learn` would otherwise wait for something that never happens."""


_HEADINGS = {
    "The robot": "robot port ids calibration_file rs485 release yes",
    "Cameras": "camera camera_store camera_moved slow_to",
    "Safety": "no_filter recovery_speed estop_file release_stop",
    "Recording and views": "record flight flight_minutes headless view view_port out",
    "Learning beside it": "learn home dataset quota learn_option",
    "By hand": "hand gamepad axes speed",
}
PANELS = {name: heading for heading, names in _HEADINGS.items() for name in names.split()}
"""Of the verbs that move a robot, which have more options than a list can be read of."""
_ONLY_WITH = {
    "learn": "home dataset quota learn_option",
    "port": "ids calibration_file rs485 release release_stop",
    "view": "view_port",
    "provider": "provider_option",
    "camera_moved": "slow_to",
}
ONLY_WITH = {name: needed for needed, names in _ONLY_WITH.items() for name in names.split()}
"""Of the same verbs."""


GROUPS: dict[str, str] = {
    "data": "Collect, look at, check, import and export recorded episodes.",
    "robots": "List the robots that are known, and describe your own.",
    "bundles": "List, show, verify, sign, compare and convert the agents at hand.",
}
"""Verbs that are only a roof over others: `data ls` stands below `data`."""

VERBS: dict[str, Verb] = {
    "run": Verb(
        "fosp_edge.cli.run:run",
        "Drive a robot with a bundle; the shipped agent and the simulated arm by default.",
        "fosp-edge run --episodes 5 --scenario obstacle-shape",
        PANELS,
        ONLY_WITH,
    ),
    "simulate": Verb(
        "fosp_edge.cli.simulate:simulate",
        "Put a simulated arm or base behind emulated motors on a pseudo-terminal, with cameras.",
        "fosp-edge simulate --robot so101",
    ),
    "replay": Verb(
        "fosp_edge.cli.replay:replay",
        "Compute a recorded run again bit for bit, show it to another bundle, or write it as MCAP.",
        "fosp-edge replay runs/2026-11-25T10-00-00Z --with bundles/4f1c...",
    ),
    "eval": Verb(
        "fosp_edge.cli.evaluate:evaluate",
        "Measure a bundle over seeds and scenario families, with confidence intervals.",
        "fosp-edge eval --episodes 100 --scenario standard",
    ),
    "train": Verb(
        "fosp_edge.cli.train:train",
        "Train an agent offline from recorded episodes.",
        "fosp-edge train --dataset data/safereach --preset nano",
    ),
    "finetune": Verb(
        "fosp_edge.cli.finetune:finetune",
        "Go on learning from the robot's own experience, without unlearning.",
        "fosp-edge finetune runs/train/nano-fosp-s0 --dataset data/safereach --own runs/own",
    ),
    "compare": Verb(
        "fosp_edge.cli.compare:compare",
        "Compare two trainings: configuration, metrics, curves.",
        "fosp-edge compare runs/train/nano-fosp-s0 runs/train/nano-bc-s0 --out compare.png",
    ),
    "export": Verb(
        "fosp_edge.cli.export:export",
        "Turn a checkpoint into a bundle, with a parity check.",
        "fosp-edge export runs/train/checkpoint.safetensors",
    ),
    "calibrate-filter": Verb(
        "fosp_edge.cli.calibrate_filter:calibrate_filter",
        "Calibrate a bundle's safety filter and out-of-distribution gate on its own episodes.",
        "fosp-edge calibrate-filter bundles/4f1c... --dataset data/own --miss-rate 0.1",
    ),
    "eval-filter": Verb(
        "fosp_edge.cli.eval_filter:eval_filter",
        "Measure the safety filter: failures, interventions, false alarms and success, beside other filters.",
        "fosp-edge eval-filter --episodes 30 --scenario standard",
    ),
    "learn": Verb(
        "fosp_edge.cli.learn:learn",
        "Keep learning beside a running robot; what passes the gate is proposed to it.",
        "fosp-edge learn --home robot --dataset data/safereach --dataset data/careful",
    ),
    "data collect": Verb(
        "fosp_edge.cli.collect:collect",
        "Make an offline data set with scripted safe, unsafe and random behaviour.",
        "fosp-edge data collect data/safereach --episodes 1500 --workers 2",
    ),
    "data record": Verb(
        "fosp_edge.cli.record:record",
        "Drive the robot by hand, with keyboard or gamepad, and record what is lived.",
        "fosp-edge data record data/mine --robot my-arm.json --port /dev/ttyACM0 --hand gamepad",
        PANELS,
        ONLY_WITH,
    ),
    "data ls": Verb(
        "fosp_edge.cli.data:ls",
        "List the episodes of a store.",
        "fosp-edge data ls data/safereach --only violation",
    ),
    "data show": Verb(
        "fosp_edge.cli.data:show",
        "Show one episode: its header, its course, and a contact sheet.",
        "fosp-edge data show data/safereach 000012 --sheet episode.png",
    ),
    "data plot": Verb(
        "fosp_edge.cli.data_plot:plot",
        "Draw how the episodes of a store are spread over return and cost.",
        "fosp-edge data plot data/safereach --out data.png",
    ),
    "data verify": Verb(
        "fosp_edge.cli.data:verify",
        "Read every episode back and say what is damaged.",
        "fosp-edge data verify data/safereach",
    ),
    "data import": Verb(
        "fosp_edge.cli.data_exchange:import_episodes",
        "Append episodes of FOSP and Dreamer, V-D4RL or LeRobot to a store.",
        "fosp-edge data import ~/data/PointGoal1 data/pointgoal1 --rate-hz 12.5",
    ),
    "data export": Verb(
        "fosp_edge.cli.data_exchange:export_episodes",
        "Write episodes in the format of another tool.",
        "fosp-edge data export data/safereach out/lerobot --format lerobot",
    ),
    "data label": Verb(
        "fosp_edge.cli.data_upkeep:label",
        "Mark success and violations of an episode afterwards.",
        "fosp-edge data label data/own 000012 --failure --violation 1.25-2.5",
    ),
    "data classifier": Verb(
        "fosp_edge.cli.data_classifier:classifier",
        "Teach a small classifier to tell success or violation, as a judge for `run`.",
        "fosp-edge data classifier data/own --outcome success --camera fixed",
    ),
    "data prune": Verb(
        "fosp_edge.cli.data_upkeep:prune",
        "Remove the least telling episodes until a store keeps to a size.",
        "fosp-edge data prune data/own --to 4G",
    ),
    "service": Verb(
        "fosp_edge.cli.service:app",
        "Install `run` as a systemd service with watchdog and restarts; release a latched stop.",
        "fosp-edge service install -- --robot serial --port /dev/serial/by-id/usb-arm --yes --realtime",
    ),
    "doctor": Verb(
        "fosp_edge.cli.doctor:doctor",
        "Say what this machine has and lacks, and how to mend it.",
        "fosp-edge doctor --json",
    ),
    "robots ls": Verb("fosp_edge.cli.robots:ls", "List the robots that can be named.", "fosp-edge robots ls"),
    "robots show": Verb(
        "fosp_edge.cli.robots:show",
        "Print a robot's description as a file, to begin another one from.",
        "fosp-edge robots show so101 > my-arm.json",
    ),
    "robots check": Verb(
        "fosp_edge.cli.robots:check",
        "Say what a robot's description means, and whether its box is within reach.",
        "fosp-edge robots check my-arm.json --picture my-arm.png",
    ),
    "robots from-urdf": Verb(
        "fosp_edge.cli.robots:from_urdf",
        "Make a robot's file out of a URDF.",
        "fosp-edge robots from-urdf arm.urdf my-arm.json --tip tool0 --low 0.2,-0.2,0.05 --high 0.4,0.2,0.2",
    ),
    "motors": Verb(
        "fosp_edge.cli.motors:app",
        "Find, try out and configure motor controllers.",
        "fosp-edge motors scan --port /dev/serial/by-id/usb-...",
    ),
    "cameras": Verb(
        "fosp_edge.cli.cameras:app",
        "Find cameras and look through them.",
        "fosp-edge cameras --help",
    ),
    "calibrate": Verb(
        "fosp_edge.cli.calibrate:app",
        "Find out where the cameras are and how they see.",
        "fosp-edge calibrate --help",
    ),
    "bundles ls": Verb(
        "fosp_edge.cli.bundles:ls",
        "List the bundles below a folder.",
        "fosp-edge bundles ls",
    ),
    "bundles show": Verb(
        "fosp_edge.cli.bundles:show",
        "Show what a bundle was made for and what was proven of it.",
        "fosp-edge bundles show runs/bundles/4f1c...",
    ),
    "bundles versions": Verb(
        "fosp_edge.cli.bundles_versions:versions",
        "Show which bundle a learning robot runs, and which it refused.",
        "fosp-edge bundles versions --home robot",
    ),
    "bundles use": Verb(
        "fosp_edge.cli.bundles_versions:use",
        "Run a bundle from now on, on probation.",
        "fosp-edge bundles use 57ba18 --home robot",
    ),
    "bundles rollback": Verb(
        "fosp_edge.cli.bundles_versions:rollback",
        "Return to the previous bundle and refuse the present one.",
        "fosp-edge bundles rollback --home robot",
    ),
    "bundles pin": Verb(
        "fosp_edge.cli.bundles_versions:pin",
        "Keep to one bundle, whatever the learner proposes.",
        "fosp-edge bundles pin 57ba18 --home robot",
    ),
    "bundles verify": Verb(
        "fosp_edge.cli.bundles:verify",
        "Check every hash of a bundle, and its signature.",
        "fosp-edge bundles verify runs/bundles/4f1c...",
    ),
    "bundles inspect": Verb(
        "fosp_edge.cli.bundles_inspect:inspect",
        "Everything about a bundle: manifest, signature, what its graphs cost, latency here.",
        "fosp-edge bundles inspect runs/bundles/4f1c...",
    ),
    "bundles diff": Verb(
        "fosp_edge.cli.bundles_diff:diff",
        "In what two bundles differ.",
        "fosp-edge bundles diff runs/bundles/4f1c... runs/bundles/9a02...",
    ),
    "bundles sign": Verb(
        "fosp_edge.cli.bundles_sign:sign",
        "Sign a bundle with a private key.",
        "fosp-edge bundles sign runs/bundles/4f1c... --key release.pem",
    ),
    "bundles new-key": Verb(
        "fosp_edge.cli.bundles_sign:new_key",
        "Make a key pair for signing bundles.",
        "fosp-edge bundles new-key release.pem",
    ),
    "bundles prepare": Verb(
        "fosp_edge.cli.bundles_prepare:prepare_bundle",
        "Compile a bundle's step graph for this machine, before it drives.",
        "fosp-edge bundles prepare runs/bundles/4f1c... --provider tensorrt",
    ),
    "bundles tune": Verb(
        "fosp_edge.cli.bundles_tune:tune_bundle",
        "Measure how many threads a bundle's graph should have on this machine.",
        "fosp-edge bundles tune runs/bundles/4f1c...",
    ),
    "bundles convert": Verb(
        "fosp_edge.cli.bundles_convert:convert",
        "The same agent in another precision, judged before it is written.",
        "fosp-edge bundles convert runs/bundles/4f1c... --dataset data/safereach",
    ),
}
