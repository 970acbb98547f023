"""The simulation tasks of the FOSP paper (Safety-Gymnasium, Ji et al. 2023), as the extra `safety-gym`."""
