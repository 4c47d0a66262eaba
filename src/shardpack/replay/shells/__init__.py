"""What makes the calls of `replay`: it reads messages, streams and objects, and hands records on.

It imports `replay.core`, `aws`, `files` and what lies below these.
"""
