"""The engine's own thread, and what the application's threads and tasks speak to it by.

`driver` is the thread, `tickets` are the answers that others wait for, a `seat` is where a reader gets its batches, and
`calls` says which call of the store or of Kinesis an action of the core is. May import everything in `consumer` but the
shells.
"""
