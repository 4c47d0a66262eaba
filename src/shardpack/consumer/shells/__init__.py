"""What runs the consumer's core: with threads on boto3, and in an event loop on aiobotocore.

A shell makes the calls that the core asks for, and hands out what it delivers. May import everything in `consumer`.
"""
