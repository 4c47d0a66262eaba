"""A lease table in memory: what of a DynamoDB client leases use, with calls that fail before or after their effect."""

from __future__ import annotations

import re
from collections.abc import Mapping
from random import Random
from typing import Any

Item = dict[str, Any]


class CallError(Exception):
    """As botocore raises it."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.response = {"Error": {"Code": code, "Message": code}}


class LossyTable:
    """A client for one table, of which all reads of the whole succeed.

    Attributes:
        lost: how many calls, and answers, were lost.
    """

    def __init__(self, seed: int, loss: float) -> None:
        self._dice = Random(seed)
        self._loss = loss
        self._items: dict[str, Item] = {}
        self.lost = 0

    def describe_table(self, **_: Any) -> Any:
        key = {"AttributeName": "leaseKey"}
        description = {"KeySchema": [key | {"KeyType": "HASH"}], "AttributeDefinitions": [key | {"AttributeType": "S"}]}
        return {"Table": {"TableStatus": "ACTIVE", **description}}

    def scan(self, **_: Any) -> Any:
        return {"Items": [dict(item) for item in self._items.values()]}

    def get_item(self, **call: Any) -> Any:
        if "leaseKey" not in call["Key"]:
            raise CallError("ResourceNotFoundException")  # of the tables that a KCL before 3.5 has beside
        self._may_lose()
        item = self._items.get(call["Key"]["leaseKey"]["S"])
        return {} if item is None else {"Item": dict(item)}

    def query(self, **call: Any) -> Any:
        self._may_lose()
        owner = call["ExpressionAttributeValues"][":owner"]
        return {"Items": [{"leaseKey": i["leaseKey"]} for i in self._items.values() if i.get("leaseOwner") == owner]}

    def put_item(self, **call: Any) -> Any:
        key = call["Item"]["leaseKey"]["S"]
        self._may_lose()
        self._check(self._items.get(key, {}), call)
        self._items[key] = dict(call["Item"])
        self._may_lose()
        return {}

    def delete_item(self, **call: Any) -> Any:
        key = call["Key"]["leaseKey"]["S"]
        self._may_lose()
        self._check(self._items.get(key, {}), call)
        del self._items[key]
        self._may_lose()
        return {}

    def update_item(self, **call: Any) -> Any:
        key = call["Key"]["leaseKey"]["S"]
        self._may_lose()
        item = self._items.get(key, {})
        self._check(item, call)
        values = call["ExpressionAttributeValues"]
        self._items[key] = {**call["Key"], **updated(item, named(call, "UpdateExpression"), values)}
        self._may_lose()
        return {"Attributes": dict(self._items[key])}

    def _may_lose(self) -> None:
        if self._dice.random() < self._loss:
            self.lost += 1
            raise CallError("InternalServerError")

    def _check(self, item: Item, call: Mapping[str, Any]) -> None:
        condition = named(call, "ConditionExpression")
        if condition and not holds(item, condition, call.get("ExpressionAttributeValues", {})):
            raise CallError("ConditionalCheckFailedException")


def named(call: Mapping[str, Any], expression: str) -> str:
    """An expression of a call with the names that it is given beside."""
    text = str(call.get(expression, ""))
    for short, name in call.get("ExpressionAttributeNames", {}).items():
        text = text.replace(short, name)
    return text


def holds(item: Item, condition: str, values: Mapping[str, Any]) -> bool:
    """Whether a condition holds, of those that leases have: terms joined by AND, perhaps in brackets, joined by OR."""
    if " OR " in condition:
        return any(holds(item, re.sub(r"^\((.*)\)$", r"\1", part), values) for part in condition.split(" OR "))
    for term in condition.split(" AND "):
        there = re.fullmatch(r"attribute_(not_)?exists\((\w+)\)", term)
        name, _, value = term.partition(" = ")
        if ((there[2] in item) == bool(there[1])) if there else (item.get(name) != values[value]):
            return False
    return True


def updated(item: Item, change: str, values: Mapping[str, Any]) -> Item:
    """An item after an update, of those that leases have."""
    item = dict(item)
    parts = re.split(r"\b(SET|REMOVE|ADD)\b", change)[1:]
    for kind, body in zip(parts[::2], parts[1::2], strict=True):
        for one in body.strip().split(", "):
            name, *rest = one.replace(" = ", " ").split()
            if kind == "SET":
                item[name] = values[rest[0]]
            elif kind == "REMOVE":
                item.pop(name, None)
            else:
                item[name] = {"N": str(int(item.get(name, {"N": "0"})["N"]) + int(values[rest[0]]["N"]))}
    return item
