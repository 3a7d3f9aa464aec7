"""The template against the code: routes, handlers, variables and names are the same on both sides."""

import re
from collections.abc import Iterator

import pytest

from chalicelib import api, predict_api
from chalicelib.settings import FUNCTIONS, PREFIX
from chalicelib.telemetry import TRACING
from tests.aws.stack import Stack
from tests.aws.translated import parsed, translated

INTEGRATION = "x-amazon-apigateway-integration"
SERVERLESS = "AWS::Serverless::Function"
LONGEST_TIMEOUT = {"api": 29, "authorizer": 10}  # what API Gateway waits for


def functions() -> dict[str, dict]:
    """Return the properties of each function by the name of its folder."""
    made = parsed()["Resources"].values()
    return {f["Properties"]["CodeUri"].split("/")[1]: f["Properties"] for f in made if f["Type"] == SERVERLESS}


def routes() -> Iterator[tuple[str, str, str]]:
    for path, methods in translated()["Resources"]["Api"]["Properties"]["Body"]["paths"].items():
        for method, said in methods.items():
            yield method.upper(), path, said[INTEGRATION]["uri"]["Fn::Sub"]


def test_the_api_has_the_routes_of_the_code_and_no_others():
    operations = [route.operation for route in (*api.routes.table, *predict_api.routes.table)]
    assert {(method, path) for method, path, _ in routes()} == {(o.method, o.path) for o in operations}


def test_each_route_is_answered_by_the_api_function():
    assert {function for *_, function in routes()} == {
        "arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${ApiFunction.Arn}/invocations"
    }


def test_each_route_asks_for_a_key_but_the_calls_of_hooks_which_are_signed():
    paths = translated()["Resources"]["Api"]["Properties"]["Body"]["paths"]
    asked = {(m.upper(), path): said["security"] for path, methods in paths.items() for m, said in methods.items()}
    assert asked.pop(("POST", "/v1/hooks/{name}")) == [{"NONE": []}]
    assert [*asked.values()] == [[{"ApiKeys": []}]] * len(asked)


def test_calls_without_a_key_have_a_throttle_of_their_own():
    of_hooks = [s for s in parsed()["Resources"]["Api"]["Properties"]["MethodSettings"] if "hooks" in s["ResourcePath"]]
    path = of_hooks[0]["ResourcePath"].replace("/~1", "/").replace("~1", "/")
    assert (of_hooks[0]["HttpMethod"], path) == ("POST", "/v1/hooks/{name}")
    assert of_hooks[0]["ThrottlingRateLimit"] <= 20


def test_the_variables_of_one_level_have_one_name():
    # API Gateway refuses /a/{x}/b beside /a/{y}/c.
    names: dict[str, set[str]] = {}
    for _, path, _ in routes():
        segments = path.split("/")
        for at, segment in enumerate(segments):
            if segment.startswith("{"):
                names.setdefault("/".join(re.sub(r"{\w+}", "{}", s) for s in segments[:at]), set()).add(segment)
    assert all(len(several) == 1 for several in names.values()), names


def test_there_is_a_function_for_each_folder_and_each_set_of_settings():
    folders = {path.parent.name for path in (Stack.code_of("ApiFunction").parents[1]).glob("*/app.py")}
    assert set(functions()) == folders == set(FUNCTIONS)


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_a_function_is_told_what_it_reads_and_no_more(function):
    said = parsed()
    own = functions()[function].get("Environment", {}).get("Variables", {})
    of_all = said["Globals"]["Function"]["Environment"]["Variables"]
    assert set(own) == {PREFIX + name for name in FUNCTIONS[function]}
    assert set(of_all) == {TRACING}


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_a_function_has_a_role_and_a_log_of_its_own(function):
    properties = functions()[function]
    others = [p for name, p in functions().items() if name != function]
    assert properties["Role"] not in [p["Role"] for p in others]
    assert properties["LoggingConfig"] not in [p["LoggingConfig"] for p in others]


@pytest.mark.parametrize("function", sorted(FUNCTIONS))
def test_a_function_ends_before_who_waits_for_it(function):
    timeout = functions()[function]["Timeout"]
    assert timeout < LONGEST_TIMEOUT.get(function, 901)


def test_a_queue_hides_a_message_for_six_times_as_long_as_its_function_may_take():
    made = parsed()["Resources"]
    mappings = [m["Properties"] for m in made.values() if m["Type"] == "AWS::Lambda::EventSourceMapping"]
    assert len(mappings) == 4
    for mapping in mappings:
        queue = made[mapping["EventSourceArn"]["Fn::GetAtt"][0]]["Properties"]
        assert queue["VisibilityTimeout"] >= 6 * made[mapping["FunctionName"]["Ref"]]["Properties"]["Timeout"]


def test_every_default_of_a_mapping_and_of_the_rule_for_re_syncs_goes_before_the_teardown():
    """What starts things is deleted first: it depends on the teardown, which CloudFormation then deletes later."""
    made = parsed()["Resources"]
    starting = {"AWS::Lambda::EventSourceMapping"}
    names = [name for name, one in made.items() if one["Type"] in starting] + ["ReSyncRule"]
    assert {made[name].get("DependsOn") for name in names} == {"Teardown"}
