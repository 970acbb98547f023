"""What the robot has learnt: world model, critics, reachability, policy. Tensors in, tensors out."""
