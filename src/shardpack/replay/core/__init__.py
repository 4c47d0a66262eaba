"""What decides in `replay`: what a message means, what to call next, what has expired. No input, no output, no clock.

In come documents, and the answers and errors of calls; out come stretches of shards, calls, and a report.
"""
