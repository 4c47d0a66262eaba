"""The batches that Lambda gave up, once more: those in the queue that is the mapping's on-failure destination."""

import os

from consume import handle, progress

from shardpack.aws_lambda import replay


def handler(event, context):
    report = replay(os.environ["FAILED"], handle, progress=progress)
    return {
        "ok": report.ok,
        "messages": report.messages,
        "done": report.done,
        "user_records": report.user_records,
        "done_before": report.skipped,
        "expired": [str(one.stretch) for one in report.expired],
        "failed": [f"{one.message}: {one.error}" for one in report.failed],
    }
