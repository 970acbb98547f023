"""Test vectors of the motor protocol: written by `generate`, read by the tests of both implementations."""
