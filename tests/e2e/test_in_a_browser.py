"""What people see and press in a real browser over the running stack: Models, a question, buttons.

The tests share one stack and one window, and run in the order of the file.
"""

from pathlib import Path

import pytest
from rain_releases import CUTOFF, DAYS, FIRST_DAY, RainReleases, Users, declare, until
from services.browser import MISSING, Browser, program

from ferryman.catalog import find_model
from ferryman.ledger.records import State
from ferryman.runtime.run_store import run_folder
from ferryman.spec.windows import DAY, Window
from ferryman.steps.journey import Journey
from ferryman_airflow.stack.airflow_config import read_password

pytestmark = [
    pytest.mark.timeout(1500),
    pytest.mark.filterwarnings("ignore::Warning:(?!ferryman).*"),
    pytest.mark.skipif(program() is None, reason=MISSING),
]

ZOO = Path(__file__).resolve().parents[1] / "zoo"
MODELS = "/plugin/models/ferryman/models"
HOSTILE = "<img src=x onerror=alert(1)> <script>document.title = 1</script>"
# What Airflow's own pages complain of: nobody is logged in yet, and how they frame plugins.
AIRFLOWS = ("/ui/config", "can escape its sandboxing")
MADE_BY_WORDS = """
const page = document.querySelector("iframe").contentDocument;
return [page.querySelectorAll("img, script:not([src])").length, page.title];
"""
SCHEMES = """
const page = document.querySelector("iframe").contentDocument;
return [document.documentElement.className, page.documentElement.style.colorScheme,
  page.defaultView.getComputedStyle(page.body).color];
"""
ROLL_BACK = """
const answer = await fetch("/api/v2/dags/rain.rollback/dagRuns", {method: "POST",
  headers: {"Content-Type": "application/json"},
  body: JSON.stringify({logical_date: null, conf: {reason: "a guest wants it so"}})});
return answer.status;
"""


@pytest.fixture(scope="module")
def releases(stack, rain_hours, tmp_path_factory):
    """`rain` served, and another version of it that waits for an answer."""
    found = RainReleases(stack, rain_hours(1, seed=9), ZOO / "rain")
    zoo = tmp_path_factory.mktemp("browser-zoo")
    declare(zoo, ZOO / "rain")
    for dag in ("release", "rollback"):
        stack.api.unpause(f"rain.{dag}")
    if found.ledger.head("rain") is None:
        found.ingest()
        found.begin("seen-first", found.train("seen-first", zoo, max_iter=20, learning_rate=0.2))
        found.asked("seen-first")
        assert found.answer("seen-first", "olga") == 200
        assert set(found.states("seen-first").values()) <= {"success", "skipped"}
    _monitor(found)
    found.begin("seen", _train(found, zoo))
    found.asked("seen")
    return found


def _monitor(releases):
    """Score and monitor the newest days: what comes later in the stack needs them unchanged."""
    window = Window(start=FIRST_DAY + (DAYS - 2) * DAY, end=FIRST_DAY + DAYS * DAY)
    journey = Journey(releases.settings, find_model(releases.settings.zoo, "rain"))
    for _ in journey.run("monitoring", window=window):
        pass


def _train(releases, zoo):
    slices = [{"column": "station"}]
    params = {"max_iter": 23, "learning_rate": 0.2}
    declare(zoo, ZOO / "rain", train__params=params, evaluation__slices=slices)
    journey = Journey(releases.settings, find_model(zoo, "rain"))
    for _ in journey.run("training", run_id="seen", params={"cutoff": CUTOFF}):
        pass
    return run_folder(releases.settings.runs_root, "rain", "training", "seen").name


@pytest.fixture(scope="module")
def browser(releases, tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("browser")) as window:
        yield window


@pytest.fixture
def log_in(browser, stack):
    """A function that lets somebody into Airflow by its page, as the only one who is there."""

    def enter(person):
        browser.open(f"{stack.stack.airflow_url}/auth/login/")
        browser.forget()
        browser.open(stack.stack.airflow_url)
        browser.wait("Username")
        browser.write("input[name=username]", person)
        browser.write("input[name=password]", read_password(stack.stack, person))
        browser.press("button", "Sign in")
        browser.wait("Models")

    return enter


@pytest.fixture(autouse=True)
def _nothing_is_complained_of(browser):
    browser.complaints.clear()
    yield
    ours = [one for one in browser.complaints if not any(words in one for words in AIRFLOWS)]
    assert ours == []


def _refused_call(browser):
    """What the route says to a call with the cookie of who is logged in."""
    status = browser.run(ROLL_BACK)
    browser.run("await new Promise((done) => setTimeout(done))")
    browser.complaints[:] = [one for one in browser.complaints if "403" not in one]
    return status


def test_a_viewer_reads_every_page_and_may_press_nothing(log_in, browser, releases, stack):
    log_in("guest")
    browser.press("a", "Models")
    browser.wait("Will it rain in the next hour", framed=True)
    assert browser.until(f"location.pathname.endsWith({MODELS!r})")
    browser.press("a", "rain", framed=True)
    page = browser.wait("Published data versions", framed=True)
    epoch, version = releases.head()
    for words in ("Champion", f"version {version} (epoch {epoch})", "Ledger", "Trainings"):
        assert words in page
    for words in ("promote: COMMITTED", "waits for an approval", "Sources", "are true"):
        assert words in page
    assert "You may not start" in page or not releases.ledger.good_versions("rain")
    frame = 'document.querySelector("iframe").contentDocument'
    assert browser.run(f"return {frame}.querySelectorAll('button, form').length") == 0
    runs = len(stack.api.runs("rain.rollback"))
    assert _refused_call(browser) == 403
    assert len(stack.api.runs("rain.rollback")) == runs
    browser.press("a", "Report", framed=True)
    browser.wait("log_loss", framed=True)
    browser.open(f"{stack.stack.airflow_url}{MODELS}/flights")
    browser.press("a", "Data Docs", framed=True)
    browser.wait("xpectation", framed=True)
    browser.open(f"{stack.stack.airflow_url}{MODELS}/rain")
    browser.press("a", "rain.ingest", framed=True)  # one of Airflow's own pages: the whole window
    browser.until("location.pathname === '/dags/rain.ingest'")
    browser.wait("rain.ingest")


def test_the_page_is_light_and_dark_as_airflow_is(log_in, browser, stack):
    log_in("guest")
    address = f"{stack.stack.airflow_url}{MODELS}/rain"
    colours = {}
    for scheme in ("light", "dark"):
        browser.prefer(scheme)
        browser.open(address)
        browser.wait("Ledger", framed=True)
        airflow, page, colours[scheme] = browser.run(SCHEMES)
        assert (airflow, page) == (scheme, scheme)
    assert len(set(colours.values())) == 2
    browser.run("localStorage.setItem('theme', 'light')")  # the person's choice in Airflow's menu
    browser.open(address)
    browser.wait("Ledger", framed=True)
    assert browser.run(SCHEMES) == ["light", "light", colours["light"]]
    browser.prefer("light")


def test_an_approver_reads_the_question_and_presses_approve(log_in, browser, releases, stack):
    log_in("olga")
    browser.open(f"{stack.stack.airflow_url}{MODELS}/rain")
    browser.press("a", "answer", framed=True)
    browser.wait("Pending required actions")
    browser.press("a[href$='/approve/required_actions']", "approve")
    question = browser.wait("What happens next")
    rows = [line.split("\t") for line in question.splitlines() if "\t" in line]
    assert ["Metric", "Candidate", "95% interval", "Champion"] in rows
    [measured] = [row for row in rows if row[0] == "log_loss"]
    assert measured[2].startswith("[0.")
    assert {row[0] for row in rows} >= {"canary at 30 %", "canary at 60 %"}
    for words in (
        "Asked for by: rita",
        "station = ",
        "The same dataset as the champion",
        "that drifted:",
    ):
        assert words in question
    for markup in ("**", "##", "| ", "\\", "&lt;", "]("):
        assert markup not in question
    report = browser.until("[...document.links].find((a) => a.text.includes('Report'))?.href")
    page = browser.run("return location.href")
    browser.open(report)
    assert "log_loss" in browser.wait("version")
    browser.open(page)
    browser.wait("What happens next")
    _, before = releases.head()
    browser.write("input[name=element_reason]", "the worst station is still good enough")
    with Users(releases.settings, releases.rows) as users:
        browser.press("button", "Approve")
        assert set(releases.states("seen").values()) == {"success"}
    assert users.failed == []
    _, version = releases.head()
    assert version != before
    history = [row for row in releases.ledger.history("rain") if row.candidate.version == version]
    [yes] = [row for row in history if row.state is State.APPROVED]
    assert (yes.actor, yes.reason) == ("olga", "the worst station is still good enough")
    assert yes.evidence["requester"] == "rita"


def test_a_rollback_is_asked_confirmed_begun_and_seen(log_in, browser, releases, stack):
    log_in("olga")
    browser.open(f"{stack.stack.airflow_url}{MODELS}/rain")
    browser.wait("Roll back to", framed=True)
    before = epoch, version = releases.head()
    runs = len(stack.api.runs("rain.rollback"))
    target = int(browser.text("button[data-version]", framed=True).split()[-1])
    for reason, told in (("late", "10 characters"), ("it's not what we want", "may stand")):
        browser.write("input[name=reason]", reason, framed=True)
        browser.press("button", f"Roll back to {target}", framed=True)
        browser.wait(told, "[data-said]", framed=True)
    browser.write("input[name=reason]", HOSTILE, framed=True)
    browser.press("button", f"Roll back to {target}", framed=True)
    question = browser.wait(HOSTILE, "dialog[open]", framed=True)
    assert f"from version {version} to version {target}?" in question
    browser.press("dialog button", "Cancel", framed=True)
    assert browser.text("dialog[open]", framed=True) == ""
    assert len(stack.api.runs("rain.rollback")) == runs
    assert releases.head() == before
    browser.press("button", f"Roll back to {target}", framed=True)
    browser.press("dialog button", "Roll back", framed=True)
    browser.wait("Started: run", "[data-said]", framed=True)
    page = browser.wait(f"version {target} (epoch {epoch + 1})", framed=True)
    assert f"{HOSTILE} (olga)" in page
    assert browser.run(MADE_BY_WORDS) == [0, "rain"]
    assert releases.head() == (epoch + 1, target)
    until(lambda: releases.served() == releases.head())
    newest = releases.ledger.history("rain")[-1]
    assert (newest.kind, newest.actor, newest.reason) == ("rollback", "olga", HOSTILE)
    assert releases.ledger.verify() == []
