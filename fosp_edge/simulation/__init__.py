"""MuJoCo scenes that stand in for the hardware at the far end of the wires."""
