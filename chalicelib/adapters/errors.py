"""What botocore's errors say."""

from botocore.exceptions import ClientError


def code_of(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")


def message_of(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Message", "")
