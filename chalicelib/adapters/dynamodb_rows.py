"""Reads of a partition, always consistent: what a verb decides on must not be older than what it wrote."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import QueryInputTypeDef

    from chalicelib.adapters.dynamodb_items import Row


def rows(  # one query is one long sentence
    client: "DynamoDBClient",
    table: str,
    pk: str,
    *,
    prefix: str = "",
    first: str = "",
    newest_first: bool = False,
    page: int = 1000,
) -> "Iterator[Row]":
    """Yield a partition's rows in the order of their sort keys, page by page as they are asked for.

    `prefix` is what the sort keys begin with, or `first` the smallest of them.
    """
    condition, values = "pk = :pk", {":pk": {"S": pk}}
    if prefix:
        condition, values = f"{condition} AND begins_with(sk, :prefix)", {**values, ":prefix": {"S": prefix}}
    elif first:
        condition, values = f"{condition} AND sk >= :first", {**values, ":first": {"S": first}}
    asked: QueryInputTypeDef = {
        "TableName": table,
        "ConsistentRead": True,
        "KeyConditionExpression": condition,
        "ExpressionAttributeValues": values,
        "ScanIndexForward": not newest_first,
        "Limit": page,
    }
    while True:
        answer = client.query(**asked)
        yield from answer["Items"]
        if "LastEvaluatedKey" not in answer:
            return
        asked["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
