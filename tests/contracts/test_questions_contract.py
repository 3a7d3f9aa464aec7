"""One suite for everybody who is asked at gates: by HTTP as on AWS, and in the background as on one machine."""

import time

import pytest

from chalicelib.adapters.questions import HttpQuestions
from chalicelib.domain.question import Question
from chalicelib.local.asking import BackgroundQuestions
from chalicelib.pipeline.ports import Nobody
from tests.question_server import QuestionServer

QUESTION = Question("digits", "digits/v2", "r-1", 25, "canary 0 errors in 50 requests")
UNREACHABLE = "http://127.0.0.1:1/"


@pytest.fixture
def server():
    with QuestionServer() as running:
        yield running


@pytest.fixture(params=["http", "background"])
def questions(request, server):
    asked = HttpQuestions({"board": server.url, "gone": UNREACHABLE})
    if request.param == "http":
        yield asked
        return
    background = BackgroundQuestions(asked, every=0.05)
    yield background
    background.close()


def says(questions, name, seconds=0.5):
    """Ask again and again for a while, as a rollout does."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if questions.may_go_on(name, QUESTION):
            return True
        time.sleep(0.01)
    return False


def test_200_is_a_yes_and_the_question_says_what_it_is_about(questions, server):
    server.status = 200
    assert says(questions, "board", 10)
    assert server.questions[0] == {
        "path": "/may-i",
        "endpoint": "digits",
        "version": "digits/v2",
        "rollout": "r-1",
        "before": 25,
        "reason": "canary 0 errors in 50 requests",
    }


@pytest.mark.parametrize("status", [201, 204, 302, 403, 404, 500])
def test_any_other_answer_is_no_yes_and_a_redirect_is_not_followed(questions, server, status):
    server.status = status
    assert not says(questions, "board")
    assert {q["path"] for q in server.questions} == {"/may-i"}


def test_who_says_no_is_asked_again(questions, server):
    assert not says(questions, "board")
    server.status = 200
    assert says(questions, "board", 10)
    assert len(server.questions) > 1


@pytest.mark.parametrize("name", ["gone", "nobody-of-that-name"])
def test_nobody_there_is_no_yes(questions, name):
    assert not says(questions, name)


def test_where_no_one_was_named_nobody_agrees():
    assert not Nobody().may_go_on("board", QUESTION)


def test_in_the_background_whoever_is_silent_holds_up_nobody(server):
    server.status = 0
    questions = BackgroundQuestions(HttpQuestions({"board": server.url}), every=0.05)
    began = time.monotonic()
    assert not any(questions.may_go_on("board", QUESTION) for _ in range(100))
    assert time.monotonic() - began < 2
    questions.close()
