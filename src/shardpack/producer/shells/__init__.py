"""What runs the producer's core: with threads on boto3, and in an event loop on aiobotocore.

A shell takes user records, makes the calls that the core asks for, and settles futures. May import everything in
`producer`.
"""
