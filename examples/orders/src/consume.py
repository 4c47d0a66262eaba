"""The orders of the stream into a table, each once, also when a batch comes again."""

import json
import os
from decimal import Decimal

import boto3

from shardpack.aws_lambda import DynamoDBProgress, process

orders = boto3.resource("dynamodb").Table(os.environ["ORDERS"])
progress = DynamoDBProgress(os.environ["PROGRESS"], consumer="orders")


def handler(event, context):
    return process(event, handle, progress=progress)


def handle(record):
    order = json.loads(record.data, parse_float=Decimal)
    rate = orders.get_item(Key={"id": f"rate#{order['currency']}"}).get("Item")
    if rate is None:
        raise LookupError(f"no rate for {order['currency']}")  # Lambda tries again, and gives up in the end
    orders.put_item(Item={**order, "total": order["total"] * rate["rate"]})
