"""The command line: `app` says what can be typed, `job` is the way from a log to an artefact, a report and lists."""
