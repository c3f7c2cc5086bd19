"""Beam's pipelines on an Apache Flink cluster.

1. `cluster` asks the JobManager's REST interface: slots, jobs; it cancels jobs.
2. `job_server` runs Beam's job server, which translates pipelines for Flink, beside a run.
3. `check` finds out before any node starts whether all of it is there.
4. `runner` is the runner of a node's pipelines: it waits for slots, submits, watches and cancels.
5. `failures` says in a sentence why a job failed.
"""
