"""Programs that run the original code of other projects, each in an interpreter that has what that code needs."""
