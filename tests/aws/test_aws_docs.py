"""What the pages on AWS say is what the template, the code and the samples say."""

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import botocore.session
import pytest
from botocore import xform_name

from chalicelib import wiring
from chalicelib.adapters.eventbridge import MOST_DETAIL
from chalicelib.adapters.sagemaker_requests import Hosting
from chalicelib.domain.cost import in_words
from chalicelib.domain.invocation import BUDGET
from chalicelib.domain.rollout import Rollout
from chalicelib.pipeline import predict
from chalicelib.pipeline.records import Records
from tests.api_caller import rolling
from tests.aws.translated import LEFT_OUT, LEFT_OUT_RESOURCES, parsed
from tests.event_check import check_document
from tests.fakes_pipeline import fake_ports

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("aws*.md"))
TEXT = {page.name: page.read_text(encoding="utf-8") for page in PAGES}
TEMPLATE = parsed()
SAMPLES = {path.name: json.loads(path.read_text()) for path in (ROOT / "events").glob("bus-*.json")}


def rows(page: str, heading: str) -> dict[str, list[str]]:
    """Return the table rows below a heading, up to the next one as high, by their first cell's name."""
    level = heading.partition(" ")[0]
    section = re.split(rf"\n{level} ", TEXT[page].split(f"\n{heading}\n")[1])[0]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in section.splitlines() if "|" in line]
    return {name: row[1:] for row in cells for name in re.findall(r"`([^`]+)`", row[0])}


def commands(text: str) -> list[list[str]]:
    """Return each call of the aws command line that stands in the shell blocks of a page."""
    joined = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL)).replace("\\\n", " ")
    substituted = re.findall(r"\$\((aws [^()]*)\)", joined)
    plain = re.findall(
        r"(?:^|&& | \{) *(aws .+?)(?=;|$| &&| #| \|)", re.sub(r"\$\([^()]*\)", "X", joined), re.MULTILINE
    )
    return [shlex.split(line) for line in (*substituted, *plain)]


# --- parameters and outputs ------------------------------------------------------------------------------------------
def test_every_parameter_is_described_with_its_default():
    text = TEXT["aws-parameters.md"].split("\n## Outputs")[0]
    told = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|", text, re.MULTILINE))
    said = {
        name: str(each["Default"]) if "Default" in each else "none" for name, each in TEMPLATE["Parameters"].items()
    }
    assert {name: re.sub(r"[`:].*|`", "", default.removeprefix("`")) for name, default in told.items()} == {
        name: default or "empty" for name, default in said.items()
    }


def test_every_output_is_described():
    assert rows("aws-parameters.md", "## Outputs").keys() == TEMPLATE["Outputs"].keys()


def test_every_service_that_a_function_calls_has_its_vpc_endpoint_named():
    code = Path(wiring.__file__).read_text()
    called = {*re.findall(r'Lazy\("([a-z0-9-]+)"', code), *re.findall(r'create_client\("([a-z0-9-]+)"', code)}
    called |= {*re.findall(r'"([a-z0-9]+)"', re.search(r"for service in (\(.*?\))\)", code)[1])}
    names = {"sagemaker": "sagemaker.api", "sagemaker-runtime": "sagemaker.runtime"}
    section = TEXT["aws-parameters.md"].split("### Functions in a VPC")[1].split("###")[0]
    assert {names.get(service, service) for service in called} <= {*re.findall(r"`([a-z0-9.-]+)`", section)}
    assert {"s3", "dynamodb", "sqs", "scheduler", "events"} <= called


# --- events ----------------------------------------------------------------------------------------------------------
def test_the_page_shows_an_event_with_the_fields_of_a_sample():
    (shown,) = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", TEXT["aws-events.md"], re.DOTALL))
    sample = SAMPLES["bus-rollout-promoted.json"]
    assert (shown.keys(), shown["detail"].keys()) == (sample.keys(), sample["detail"].keys())
    check_document(shown["detail"])
    assert f"{MOST_DETAIL:,} bytes" in TEXT["aws-events.md"]


# --- what was not tried ----------------------------------------------------------------------------------------------
def test_all_that_moto_was_not_given_is_said():
    said = {*re.findall(r"`([A-Za-z:0-9]+)`", TEXT["aws-untried.md"])}
    assert {*LEFT_OUT, *LEFT_OUT_RESOURCES} <= said


# --- people, roles, alarms -------------------------------------------------------------------------------------------
def named(kind: str, name: str) -> set[str]:
    """Return the names, without the prefix, of all resources of a kind."""
    made = [r["Properties"].get(name, {}) for r in TEMPLATE["Resources"].values() if r["Type"] == kind]
    return {said["Fn::Sub"].removeprefix("${Bus}-") for said in made if "Fn::Sub" in said}


def test_every_policy_for_people_and_every_function_is_in_a_table():
    told = rows("aws-permissions.md", "## Three policies for people")
    assert {f"PREFIX-{name}" for name in named("AWS::IAM::ManagedPolicy", "ManagedPolicyName")} == set(told)
    roles = re.findall(r"^\| ([\w-]+) \|", TEXT["aws-permissions.md"].split("| role of |")[1], re.MULTILINE)
    assert {*roles} == named("AWS::Serverless::Function", "FunctionName") | {"models", "Scheduler"}


# What a row of the table of roles says, and the action that it stands for; `Queue`s by what may be sent to them.
SAID = {
    "set timers": "scheduler:CreateSchedule",
    "publish": "events:PutEvents",
    "keep records": "dynamodb:PutItem",
    "list and read the drop": "s3:GetObjectVersion",
    "tag what is sealed": "s3:PutObjectVersionTagging",
    "Model Registry": "sagemaker:CreateModelPackage",
    "make, change, scale": "sagemaker:CreateEndpoint",
    "delete": "sagemaker:DeleteEndpoint",
    "probe": "sagemaker:InvokeEndpoint",
    "pass the models' role": "sagemaker.amazonaws.com",
}
ROLES = ("Validate", "Register", "Advance", "Shadow", "Api", "Authorizer", "ReSync", "Teardown")


@pytest.mark.parametrize("role", ROLES)
def test_the_table_of_roles_says_what_the_roles_may(role):
    rows_ = dict(re.findall(r"^\| ([\w-]+) \| (.+) \|$", TEXT["aws-permissions.md"], re.MULTILINE))
    row = rows_["re-sync" if role == "ReSync" else role.lower()].replace("invoke endpoints", "probe")
    may = json.dumps(TEMPLATE["Resources"][f"{role}Role"]["Properties"]["Policies"])
    of_endpoints = re.sub(r"[^;]*the store[^;]*", "", row)
    assert {said for said in SAID if said in of_endpoints} == {
        said for said, what in SAID.items() if f'"{what}"' in may
    }
    sends = next((s for s in statements_of(role) if s["Sid"] == "Wake"), {"Resource": []})
    queues = {name.lower() for name in re.findall(r"(\w+)Queue", json.dumps(sends["Resource"]))}
    told = re.search(r"send to ([^;]+)", row)
    named_ = {"uploads", "registrations", "rollouts"} if told and "all three" in told[1] else set()
    assert (named_ | {*re.findall(r"\*(\w+)\*", told[1])} if told else set()) == queues


def statements_of(role: str) -> list[dict[str, object]]:
    [policy] = TEMPLATE["Resources"][f"{role}Role"]["Properties"]["Policies"]
    return [one for one in policy["PolicyDocument"]["Statement"] if "Sid" in one]


def test_the_tags_that_the_policies_read_are_those_that_the_page_sets():
    read = {*re.findall(r"aws:PrincipalTag/([\w:]+)", json.dumps(TEMPLATE["Resources"]))}
    assert {*re.findall(r"Key=([\w:]+),", TEXT["aws-permissions.md"])} == read


def test_every_alarm_is_explained_and_counted():
    told = rows("aws-operating.md", "## Alarms")
    alarms = named("AWS::CloudWatch::Alarm", "AlarmName")
    assert ({*told} - {"PREFIX-…"}, f"{len(alarms)} alarms" in TEXT["aws.md"]) == (alarms, True)


# --- figures ---------------------------------------------------------------------------------------------------------
def test_the_figures_are_those_of_the_code_and_the_template():
    page, resources = TEXT["aws.md"], TEMPLATE["Resources"]
    authorizer = resources["Api"]["Properties"]["Auth"]["Authorizers"]["ApiKeys"]["Identity"]
    said = {
        f"{predict.MAX_BODY / 1e6:g} MB each way": page,
        f"{BUDGET:g} s, about": page,
        f"after at most {predict.SPLIT_TTL:g} s": page,
        "at most one a second": page if predict.LOOK_AGAIN_PAUSE == 1 else "",
        f"let in for up to {authorizer['ReauthorizeEvery']} s": page,
        f"{wiring.PLAN.step_time.seconds // 60} minutes\na step": page,
        f"a deployment {wiring.PLAN.start_timeout.seconds // 60} minutes to start": page,
        "for an hour": page if wiring.PLAN.keep_warm.seconds == 3600 else "",
        f"{Hosting.requests_per_instance:g} requests a minute": page,
        resources["ReSyncRule"]["Properties"]["ScheduleExpression"].strip("rate()"): page,
        f"{resources['ValidateFunction']['Properties']['Timeout'] // 60}\nminutes each": page,
        f"for up to {resources['Teardown']['Properties']['ServiceTimeout'] // 60}\nminutes": TEXT["aws-operating.md"],
    }
    assert [figure for figure, text in said.items() if figure.replace("\n", " ") not in text.replace("\n", " ")] == []


def test_the_plan_that_the_page_quotes_is_what_a_rollout_says():
    ports = replace(fake_ports(), defaults=wiring.PLAN)
    rolling(ports, "digits/v1")
    rollout = Records(ports.registry).list(Rollout)[0].value
    resources = replace(rollout.canary.resources, instance_type="ml.g5.xlarge")
    second = replace(rollout, stable="v0", canary=replace(rollout.canary, resources=resources))
    assert f'"{in_words(second)}"' in TEXT["aws.md"]


# --- what can be followed --------------------------------------------------------------------------------------------
def test_every_link_of_the_documentation_leads_somewhere():
    pages = [*DOCS.glob("*.md"), ROOT / "README.md", ROOT / "events" / "README.md"]
    links = [(page, link) for page in pages for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text())]
    local = [(page, *link.partition("#")[::2]) for page, link in links if "://" not in link]
    lost = [(page.name, path, anchor) for page, path, anchor in local if not leads(page, path, anchor)]
    assert lost == []


def test_every_page_is_in_the_index():
    linked = {*re.findall(r"\]\(([\w-]+\.md)\)", (DOCS / "README.md").read_text())}
    assert {page.name for page in DOCS.glob("*.md")} - {"README.md"} <= linked


def leads(page: Path, path: str, anchor: str) -> bool:
    target = (page.parent / unquote(path)).resolve() if path else page
    if not target.exists():
        return False
    headings = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE) if anchor else []
    return not anchor or anchor in {re.sub(r"[^\w\- ]", "", text).lower().replace(" ", "-") for text in headings}


def test_every_aws_command_on_the_pages_is_one_and_takes_its_options():
    """By botocore's models, which the command line is made of; `aws s3` is its own."""
    session = botocore.session.get_session()
    told = [command for text in TEXT.values() for command in commands(text)]
    wrong = [command for command in told if command[1] != "s3" and not is_call(session, command)]
    assert (wrong, len(told) > 12) == ([], True)


def test_an_operator_may_do_what_the_page_says_an_operator_may():
    session = botocore.session.get_session()
    told = commands(TEXT["aws-operating.md"].split("## Events by hand")[0])
    asked = {f"{service}:{operation_of(session, service, call)}" for _, service, call, *_ in told}
    statements = TEMPLATE["Resources"]["OperatorPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    allowed = {action for one in statements if "Action" in one for action in as_list(one["Action"])}
    assert {action.replace("lambda:Invoke", "lambda:InvokeFunction") for action in asked} <= allowed
    assert len(asked) > 2


def as_list(said: str | list[str]) -> list[str]:
    return [said] if isinstance(said, str) else said


def operation_of(session: botocore.session.Session, service: str, call: str) -> str:
    names = session.get_service_model(service).operation_names
    return next((name for name in names if xform_name(name, "-") == call), "")


_ANY = {"--region", "--query", "--output", "--cli-binary-format", "--profile"}


def is_call(session: botocore.session.Session, command: list[str]) -> bool:
    if command[2] == "get-login-password":  # the command line's own
        return True
    name = operation_of(session, command[1], command[2])
    if not name:
        return False
    shape = session.get_service_model(command[1]).operation_model(name).input_shape
    takes = {"--" + xform_name(member, "-") for member in shape.members} | _ANY
    given = {word for word in command[3:] if word.startswith("--")}
    needed = {"--" + xform_name(member, "-") for member in shape.required_members}
    return given <= takes and needed <= given
