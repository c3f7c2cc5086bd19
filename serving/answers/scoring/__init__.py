"""Scores a log into the answers' database: every learner and unit, as of one moment or several.

The way of the rows, partition by partition of the learners, so that memory stays flat:

1. `job` reads the files of the log into runs in a scratch folder, as ExampleGen does, and joins one
   partition at a time: which learners and units are asked about, and what they have done.
2. `activity` adds up what the board shows besides answers, into files in the scratch folder.
3. `model` answers a batch: the pushed SavedModel in this process, or a server.
4. `pipeline` is these steps on Beam, with the writing of answers at the end.
5. `run` is the whole: it registers the version, keeps other scorings out, and at the end has
   `serving.answers.derived` bring up to date what pages read.
"""
