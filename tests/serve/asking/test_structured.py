import inspect
import json
import sys
from typing import Any

import pytest

from serve.asking import structured
from serve.asking.limits import Asked, check
from serve.errors import InvalidRequest
from serve.settings import ServeSettings

SETTINGS = ServeSettings(structured_output=True, tools=True)
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": SCHEMA}}


def ask(**fields: Any) -> Asked:
    """Check a chat with both switches on."""
    body = {"model": "live", "messages": [{"role": "user", "content": "hi"}], **fields}
    return check(json.dumps(body).encode(), "chat", SETTINGS)


def refused(**fields: Any) -> InvalidRequest:
    """Return the refusal of a chat."""
    with pytest.raises(InvalidRequest) as caught:
        ask(**fields)
    return caught.value


def form(schema: Any = SCHEMA, **fields: Any) -> dict[str, Any]:
    """Return a response format of a schema."""
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, **fields}}


def test_a_schema_is_forwarded_and_has_to_be_tried_out() -> None:
    asked = ask(response_format=form(strict=True, description="d"))
    assert asked.forward["response_format"] == form()
    assert [json.loads(each) for each in asked.schemas] == [SCHEMA]
    assert "response_format" not in asked.sampling
    assert len(asked.messages) == 1


def test_plain_forms_are_taken() -> None:
    assert ask(response_format={"type": "json_object"}).schemas == [b'{"type":"object"}']
    assert ask(response_format={"type": "text"}).forward == ask().forward
    assert ask().schemas == []


@pytest.mark.parametrize(
    ("value", "param"),
    [
        ("text", ""), ({"type": "grammar"}, ".type"), ({}, ".type"), ({"type": "json_schema"}, ".json_schema"),
        ({"type": "text", "json_schema": {}}, ".json_schema"), ({"type": "json_object", "x": 1}, ".x"),
        (form(5), ".json_schema.schema"), (form(True), ".json_schema.schema"), (form(None), ".json_schema.schema"),
        ({"type": "json_schema", "json_schema": {"schema": {}}}, ".json_schema.name"),
        ({"type": "json_schema", "json_schema": {"schema": {}, "name": "a b"}}, ".json_schema.name"),
        (form(strict=1), ".json_schema.strict"), (form(other=1), ".json_schema.other"),
        (form(description="x" * 1025), ".json_schema.description"),
    ],
)  # fmt: skip
def test_malformed_forms_are_refused_by_name(value: Any, param: str) -> None:
    assert refused(response_format=value).param == f"response_format{param}"


def looped(*names: str) -> dict[str, Any]:
    """Return a schema whose definitions refer to each other in a circle."""
    following = dict(zip(names, [*names[1:], names[0]], strict=True))
    definitions = {name: {"$ref": f"#/$defs/{other}"} for name, other in following.items()}
    return {"$defs": definitions, "$ref": f"#/$defs/{names[0]}"}


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"}, looped("a"), looped("a", "b", "c"), {"anyOf": [{"type": "string"}, {"$ref": "#"}]},
        {"properties": {"a": {"allOf": [{"$ref": "#/properties/a"}]}}},
        {"$ref": "http://127.0.0.1:1/schema.json"}, {"$ref": "other.json"}, {"$ref": "#anchor"}, {"$ref": 5},
        {"$ref": "#/$defs/missing"}, {"$ref": "#/type/x", "type": "object"},
        {"description": "x" * structured.MAX_SCHEMA_BYTES},
        looped(*(f"d{place}" for place in range(300))),
    ],
)  # fmt: skip
def test_schemas_that_lead_nowhere_or_elsewhere_are_refused(schema: dict[str, Any]) -> None:
    assert refused(response_format=form(schema)).param == "response_format.json_schema.schema"


def test_too_long_a_chain_of_references_is_refused() -> None:
    chain = {f"{place}": {"$ref": f"#/d/{place + 1}"} for place in range(650)}
    schema = {"d": {**chain, "650": {"type": "string"}}, "$ref": "#/d/0"}

    def deep(frames: int) -> InvalidRequest:
        return refused(response_format=form(schema)) if frames == 0 else deep(frames - 1)

    room = sys.getrecursionlimit() - len(inspect.stack())
    assert "chain" in str(deep(room - 400))


def test_a_schema_may_refer_to_itself_one_step_down() -> None:
    tree = {"type": "object", "properties": {"below": {"type": "array", "items": {"$ref": "#"}}}}
    assert ask(response_format=form(tree)).schemas
    shared = {"$defs": {"a/b": {"type": "string"}}, "anyOf": [{"$ref": "#/$defs/a~1b"}, {"$ref": "#/$defs/a~1b"}]}
    assert ask(response_format=form(shared)).schemas


def test_tools_are_forwarded_strict_and_never_recorded() -> None:
    asked = ask(tools=[TOOL], tool_choice="required", parallel_tool_calls=False)
    assert asked.forward["tools"][0]["function"] == {**TOOL["function"], "strict": True}  # type: ignore[dict-item]
    assert asked.forward["tool_choice"] == "required"
    assert [json.loads(each) for each in asked.schemas] == [SCHEMA]
    assert asked.prompts == [[]]
    assert asked.prompt_bytes > len(json.dumps(SCHEMA))


def test_a_function_without_parameters_takes_none() -> None:
    tool = {"type": "function", "function": {"name": "f"}}
    assert ask(tools=[tool]).forward["tools"][0]["function"]["parameters"] == {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": []}, "tools"), ({"tools": "f"}, "tools"), ({"tools": [TOOL] * 17}, "tools"),
        ({"tools": [TOOL, TOOL]}, "tools"), ({"tools": [5]}, "tools[0]"),
        ({"tools": [{**TOOL, "type": "code_interpreter"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {"name": "f\n"}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]},
         "tools[0].function.parameters"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": {"$ref": "#"}}}]},
         "tools[0].function.parameters"),
        ({"tools": [TOOL], "tool_choice": "any"}, "tool_choice"), ({"tools": [TOOL], "tool_choice": 5}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "function"}}, "tool_choice.function"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"tools": [TOOL], "response_format": {"type": "json_object"}}, "response_format"),
        ({"min_tokens": 5, "max_tokens": 9, "response_format": {"type": "json_object"}}, "min_tokens"),
    ],
)  # fmt: skip
def test_malformed_tools_are_refused_by_name(fields: dict[str, Any], param: str) -> None:
    assert refused(**fields).param == param


def test_a_choice_names_one_of_the_tools() -> None:
    choice = {"type": "function", "function": {"name": "f"}}
    assert ask(tools=[TOOL], tool_choice=choice).forward["tool_choice"] == choice


def test_without_tools_nothing_of_them_is_forwarded() -> None:
    assert ask(tool_choice="none", parallel_tool_calls=True).forward == ask().forward


def test_switched_off_they_are_refused_by_name() -> None:
    body = {"model": "live", "messages": [{"role": "user", "content": "hi"}]}
    for name, value in (("response_format", form()), ("tools", [TOOL]), ("tool_choice", "auto")):
        with pytest.raises(InvalidRequest) as caught:
            check(json.dumps({**body, name: value}).encode(), "chat", ServeSettings())
        assert (caught.value.param, caught.value.code) == (name, "unsupported_parameter")
