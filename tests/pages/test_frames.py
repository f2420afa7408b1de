"""Pages in a frame of a product on another origin: Stripe's pages open outside of it."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import ClassVar

import pytest
from playwright.sync_api import Frame, Page, expect

from tests.factories import Holder, organization
from tests.pages.conftest import FRAMING_PORT, FRAMING_PRODUCT, OpenContext, RunningApp
from tests.pages.test_portal import link_of

RETURN_URL = f"{FRAMING_PRODUCT}/settings"
# What a sandboxed frame of our pages needs at least.
NEEDED = "allow-scripts allow-forms allow-same-origin"


class Product(BaseHTTPRequestHandler):
    """Answers the frame that a test wants, and its settings."""

    frame: ClassVar[str] = ""

    def do_GET(self) -> None:
        page = self.frame if self.path == "/billing" else "<h1>Settings</h1>"
        body = f"<!doctype html>{page}".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *_: object) -> None: ...  # noqa: A002


@pytest.fixture(autouse=True, scope="module")
def product() -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", FRAMING_PORT), Product)
    Thread(target=server.serve_forever, daemon=True).start()
    yield
    server.shutdown()
    server.server_close()


@pytest.fixture
def holder(running_app: RunningApp) -> Holder:
    return organization(running_app.database_url, 10)


def framed(
    open_context: OpenContext, app: RunningApp, holder: Holder, sandbox: str = ""
) -> tuple[Page, Frame]:
    """The product's page, and the plans in its frame."""
    link = link_of(app, holder, page="plans", return_url=RETURN_URL) + "?embed=1"
    attribute = f'sandbox="{sandbox}"' if sandbox else ""
    Product.frame = (
        f'<h1>Product</h1><iframe src="{link}" {attribute} width="1200" height="900"></iframe>'
    )
    page = open_context().new_page()
    page.goto(f"{FRAMING_PRODUCT}/billing")
    (frame,) = page.main_frame.child_frames
    frame.locator(".page-head .live").wait_for()
    return page, frame


def test_checkout_leaves_the_frame_and_comes_back_to_the_product(
    open_context: OpenContext, running_app: RunningApp, holder: Holder
) -> None:
    page, frame = framed(open_context, running_app, holder)
    frame.get_by_role("button", name="Choose Starter").click()
    page.wait_for_url("**/checkout/**")
    page.get_by_role("link", name="Back").first.click()
    page.wait_for_url(f"{RETURN_URL}**")


def test_card_page_leaves_the_frame_and_comes_back_to_the_product(
    open_context: OpenContext, running_app: RunningApp, holder: Holder
) -> None:
    page, frame = framed(open_context, running_app, holder)
    frame.get_by_role("button", name="Manage in Stripe").click()
    page.wait_for_url("**/portal/**")
    page.get_by_role("link", name="Return to the service").click()
    page.wait_for_url(f"{RETURN_URL}**")


def test_sandboxed_frame_opens_a_tab(
    open_context: OpenContext, running_app: RunningApp, holder: Holder
) -> None:
    page, frame = framed(open_context, running_app, holder, f"{NEEDED} allow-popups")
    with page.context.expect_page() as opened:
        frame.get_by_role("button", name="Choose Starter").click()
    opened.value.wait_for_url("**/checkout/**")
    expect(frame.get_by_text("Continue in the new tab")).to_be_visible()
    expect(page.get_by_role("heading", name="Product")).to_be_visible()


def test_frame_that_may_open_nothing_says_so(
    open_context: OpenContext, running_app: RunningApp, holder: Holder
) -> None:
    _, frame = framed(open_context, running_app, holder, NEEDED)
    frame.get_by_role("button", name="Choose Starter").click()
    expect(frame.get_by_text("The payment page did not open")).to_be_visible()
    link = frame.get_by_role("link", name="Open it in a new tab")
    expect(link).to_have_attribute("target", "_blank")
