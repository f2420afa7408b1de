"""What the targets of the hot path are measured with: `python -m tests.benchmarks` (make bench)."""
