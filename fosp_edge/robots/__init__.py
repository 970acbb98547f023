"""The robot as the control loop sees it."""
