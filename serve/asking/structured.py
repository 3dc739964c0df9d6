"""Structured output and tools: which of OpenAI's shapes are taken, and which schemas are worth trying out.

Pure; what passes here is still tried out by `serve.asking.trials` before an engine sees it. A schema refers only to
itself, and never to itself without a step down into the answer, which would describe nothing.
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from serve.asking.bounds import boolean, mapping, one_of, text, wrong

MAX_SCHEMA_BYTES = 16 * 1024
MAX_TOOLS = 16
MAX_CALLS = 16
NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
CHOICES = ("none", "auto", "required")
IN_PLACE = ("allOf", "anyOf", "oneOf")
"""Keywords whose members describe the same value as the schema that holds them."""


def response_format(name: str, value: Any) -> dict[str, Any]:
    """Return ``value`` if it is OpenAI's ``text``, ``json_object`` or ``json_schema``."""
    mapping(name, value, only=("type", "json_schema"))
    kind = one_of("text", "json_object", "json_schema")(f"{name}.type", value.get("type"))
    if kind != "json_schema":
        if "json_schema" in value:
            raise wrong(f"{name}.json_schema", "needs type to be json_schema")
        return {"type": kind}
    inner = f"{name}.json_schema"
    given = mapping(inner, value.get("json_schema"), only=("name", "description", "schema", "strict"))
    if given.get("strict") is not None:
        boolean(f"{inner}.strict", given["strict"])
    _description(inner, given)
    schema = _schema(f"{inner}.schema", given.get("schema"))
    return {"type": kind, "json_schema": {"name": _name(f"{inner}.name", given.get("name")), "schema": schema}}


def tools(name: str, value: Any) -> list[dict[str, Any]]:
    """Return the functions in ``value``; their parameters are always kept to, as if each said ``strict``."""
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_TOOLS:
        raise wrong(name, f"must be a list of 1 to {MAX_TOOLS} tools")
    found = [_tool(f"{name}[{place}]", each) for place, each in enumerate(value)]
    if len({each["function"]["name"] for each in found}) < len(found):
        raise wrong(name, "must have different names")
    return found


def _tool(name: str, value: Any) -> dict[str, Any]:
    mapping(name, value, only=("type", "function"))
    one_of("function")(f"{name}.type", value.get("type"))
    inner = f"{name}.function"
    given = mapping(inner, value.get("function"), only=("name", "description", "parameters", "strict"))
    if given.get("strict") is not None:
        boolean(f"{inner}.strict", given["strict"])
    parameters = given.get("parameters")
    schema = {"type": "object", "properties": {}} if parameters is None else parameters
    function = {
        "name": _name(f"{inner}.name", given.get("name")),
        "description": _description(inner, given),
        "parameters": _schema(f"{inner}.parameters", schema),
        "strict": True,
    }
    return {"type": "function", "function": function}


def tool_choice(name: str, value: Any) -> str | dict[str, Any]:
    """Return ``value`` if it is none, auto, required, or one function by its name."""
    if isinstance(value, str):
        return str(one_of(*CHOICES)(name, value))
    mapping(name, value, only=("type", "function"))
    one_of("function")(f"{name}.type", value.get("type"))
    function = mapping(f"{name}.function", value.get("function"), only=("name",))
    return {"type": "function", "function": {"name": _name(f"{name}.function.name", function.get("name"))}}


def calls(name: str, value: Any) -> list[dict[str, Any]]:
    """Return the calls of an earlier answer that a client sends back."""
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_CALLS:
        raise wrong(name, f"must be a list of 1 to {MAX_CALLS} calls")
    found = []
    for place, each in enumerate(value):
        at = f"{name}[{place}]"
        mapping(at, each, only=("id", "type", "function", "index"))
        one_of("function")(f"{at}.type", each.get("type"))
        function = mapping(f"{at}.function", each.get("function"), only=("name", "arguments"))
        called = {
            "name": _name(f"{at}.function.name", function.get("name")),
            "arguments": text(0, MAX_SCHEMA_BYTES)(f"{at}.function.arguments", function.get("arguments")),
        }
        found.append({"id": text(1, 64)(f"{at}.id", each.get("id")), "type": "function", "function": called})
    return found


def check_together(fields: dict[str, Any]) -> None:
    """Refuse what cannot hold at the same time; ``fields`` are checked each by itself."""
    chosen = fields.get("tool_choice")
    offered = {each["function"]["name"] for each in fields.get("tools", ())}
    if not offered and chosen not in (None, "none"):
        raise wrong("tool_choice", "needs tools")
    if isinstance(chosen, dict) and chosen["function"]["name"] not in offered:
        raise wrong("tool_choice", "must name one of the tools")
    if offered and fields.get("response_format", {}).get("type", "text") != "text":
        raise wrong("response_format", "and tools exclude each other")
    if fields.get("min_tokens") and schemas(fields):
        raise wrong("min_tokens", "cannot hold for an answer whose form is given: it ends where its form ends")


def schemas(fields: dict[str, Any]) -> list[bytes]:
    """Return what has to be tried out before an engine may see checked ``fields``: schemas as JSON."""
    wanted = fields.get("response_format", {})
    found = [{"type": "object"}] if wanted.get("type") == "json_object" else []
    found += [wanted["json_schema"]["schema"]] if wanted.get("type") == "json_schema" else []
    found += [each["function"]["parameters"] for each in fields.get("tools", ())]
    return [msgspec.json.encode(schema) for schema in found]


def _schema(name: str, value: Any) -> dict[str, Any]:
    schema = mapping(name, value)
    size = len(msgspec.json.encode(schema))
    if size > MAX_SCHEMA_BYTES:
        raise wrong(name, f"must be at most {MAX_SCHEMA_BYTES} bytes as JSON; it is {size} bytes")
    followed: dict[int, bool] = {}
    try:
        for node in _nodes(schema):
            if isinstance(node, dict):
                _follow(name, schema, node, followed)
    except RecursionError as error:
        raise wrong(name, "has too long a chain of $ref") from error
    return schema


def _nodes(value: Any) -> Iterator[Any]:
    level = [value]
    while level:
        node = level.pop()
        yield node
        level.extend(node.values() if isinstance(node, dict) else node if isinstance(node, list) else ())


def _follow(name: str, schema: dict[str, Any], node: dict[str, Any], followed: dict[int, bool]) -> None:
    """Follow what describes the same value as ``node``; nodes in ``followed`` are done (True) or on the way here."""
    if followed.get(id(node)):
        return
    if id(node) in followed:
        raise wrong(name, "has a $ref that leads back to itself without a step down")
    followed[id(node)] = False
    if "$ref" in node:
        _follow(name, schema, _target(name, schema, node["$ref"]), followed)
    for keyword in IN_PLACE:
        for each in node.get(keyword, ()) if isinstance(node.get(keyword), list) else ():
            if isinstance(each, dict):
                _follow(name, schema, each, followed)
    followed[id(node)] = True


def _target(name: str, schema: dict[str, Any], ref: Any) -> dict[str, Any]:
    if not isinstance(ref, str) or not (ref == "#" or ref.startswith("#/")):
        raise wrong(name, "may only refer to itself, with a $ref that begins with #")
    found: Any = schema
    for step in ref.split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        found = found.get(step) if isinstance(found, dict) else None
    if not isinstance(found, dict):
        raise wrong(name, "has a $ref to something that is not in it")
    return found


def _name(name: str, value: Any) -> str:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise wrong(name, "must be 1 to 64 of letters, digits, _ and -")
    return value


def _description(name: str, given: dict[str, Any]) -> str:
    found = given.get("description")
    return "" if found is None else str(text(0, 1024)(f"{name}.description", found))
