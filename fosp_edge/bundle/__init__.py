"""What travels to the robot: manifest, graph, weights, and the checks that refuse a wrong one."""
