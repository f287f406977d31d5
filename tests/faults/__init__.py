"""What machines, disks and people do to a run, done on purpose: real processes, killed, starved and resumed.

python -m tests.faults                        # all of it, and docs/reliability.md
python -m tests.faults --only "disk full" --share 0.1
"""
