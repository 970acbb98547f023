"""Where the cameras are: boards, intrinsics, hand-eye, coverage, reports, storage."""
