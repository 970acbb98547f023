"""What the robot has lived: the crash-safe store on disk and readers of other formats."""
