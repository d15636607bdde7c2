"""The same work on Parallax and on its peers, as ratios within one run.

`python -m benchmarks` measures; `docs/benchmarks.md` is its output.

- `systems/` holds one small adapter a system, `workloads/` one file a family of workloads.
- `measure` is one measurement: a fresh interpreter, one system, one workload, JSON on stdout.
- `runner` starts those interpreters, interleaves the systems and leaves no process behind.
- `plan` says what to measure and in which order, `bars` which ratios the project promises.
- `results` pairs the numbers round by round; `report` and `plot` show them.
"""
