"""The wire to the motors: framing, protocol, ports, and an emulated controller."""
