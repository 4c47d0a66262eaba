"""Batches that Lambda gave up: where the messages about them lie, and the Kinesis records that they mean.

In come messages of an on-failure destination, out of a file, a queue or a bucket; out go the Kinesis records, as Lambda
hands them over, and a report. `core` says what a message means, which call comes next and what has expired, and does no
input or output; `shells` makes the calls. What happens with the records, and which of them are done already, is for
`aws_lambda` to say. It imports what speaks to AWS, files, and what lies below these.
"""
