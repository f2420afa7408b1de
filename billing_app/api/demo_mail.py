"""The demo's mail, which is sent to nobody: a page that lists it. Only in the demo."""

import asyncio
from collections.abc import Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Annotated, Final

from fastapi import APIRouter, Depends
from fastapi.responses import HTMLResponse

from billing_app.api.callers import ServicesNow
from billing_app.billing.errors import NotFoundError
from billing_app.mail.kept_mails import KeptMail, list_mails, read_mail
from billing_app.routes import DASHBOARD, DEMO_MAIL

MOST: Final = 200
# Its own styles and its own frame, and nothing from elsewhere.
PAGE_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; frame-src 'self';"
    " frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
# A mail runs no script and loads nothing; its links open a new tab.
FRAME_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self';"
    " sandbox allow-popups allow-popups-to-escape-sandbox"
)

router = APIRouter(include_in_schema=False)


def demo_directory(services: ServicesNow) -> Path:
    """Raises NotFoundError outside of the demo, and where mail is really sent."""
    settings = services.settings
    if not settings.billing_demo or settings.smtp_host or settings.mail_directory is None:
        raise NotFoundError
    return settings.mail_directory


Directory = Annotated[Path, Depends(demo_directory)]


@router.get(DEMO_MAIL)
async def show_mails(directory: Directory, mail: str = "") -> HTMLResponse:
    """Show the newest mails, and one of them: that of `mail`, or else the newest."""
    found = await asyncio.to_thread(list_mails, directory, MOST)
    shown = next((each for each in found if each.id == mail), next(iter(found), None))
    page = PAGE.substitute(
        list=_list(found, shown), mail=_mail(shown) if shown else EMPTY, home=DASHBOARD
    )
    return HTMLResponse(page, headers={"content-security-policy": PAGE_POLICY})


@router.get(DEMO_MAIL + "/{mail_id}")
async def show_html(directory: Directory, mail_id: str) -> HTMLResponse:
    """The HTML of a mail, for the frame. Raises NotFoundError."""
    found = await asyncio.to_thread(read_mail, directory, mail_id)
    if found is None:
        raise NotFoundError
    html = found.html.replace("<head>", '<head>\n<base target="_blank">', 1)
    return HTMLResponse(html, headers={"content-security-policy": FRAME_POLICY})


def _list(mails: Sequence[KeptMail], shown: KeptMail | None) -> str:
    items = [
        f'<li><a href="{DEMO_MAIL}?mail={each.id}"{" aria-current=true" * (each is shown)}>'
        f"<b>{escape(each.subject)}</b>"
        f"<span>{escape(each.to)} · {each.at:%d %b, %H:%M} UTC</span></a></li>"
        for each in mails
    ]
    return f"<ul>{''.join(items)}</ul>" if items else ""


def _mail(mail: KeptMail) -> str:
    subject = escape(mail.subject)
    frame = f'<iframe src="{DEMO_MAIL}/{mail.id}" title="HTML of the mail" sandbox="{SANDBOX}">'
    html = f"{frame}</iframe>" if mail.html else ""
    return (
        f"<article><h2>{subject}</h2><p class=soft>To {escape(mail.to)}</p>{html}"
        f"<details{'' if mail.html else ' open'}><summary>Text</summary>"
        f"<pre tabindex=0>{escape(mail.text)}</pre></details></article>"
    )


SANDBOX: Final = "allow-popups allow-popups-to-escape-sandbox"
EMPTY: Final = (
    "<p class=empty>No mail yet. Sign up, change your email address, or pay for a plan: what would"
    " be sent is shown here.</p>"
)
PAGE: Final = Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Mail of the demo</title>
<link rel="icon" href="/logo.svg" type="image/svg+xml">
<style>
:root { color-scheme: light dark; --page: #f5f6f8; --card: #fff; --line: #e3e4e8; --ink: #1c2024;
  --soft: #60646c; --accent: #5b5bd6; --chosen: #ececfb; }
@media (prefers-color-scheme: dark) { :root { --page: #0e0f12; --card: #16171b; --line: #2b2d34;
  --ink: #eeeef0; --soft: #b2b4bd; --accent: #b1a9ff; --chosen: #25253f; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 -apple-system,
  BlinkMacSystemFont, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif; }
a { color: var(--accent); }
header { display: flex; flex-wrap: wrap; align-items: center; gap: 4px 16px; padding: 16px 24px; }
header img { width: 24px; height: 24px; }
h1 { margin: 0; font-size: 17px; font-weight: 600; }
header .soft { flex: 1 1 240px; margin: 0; }
.soft, li span { color: var(--soft); font-size: 13px; }
main { display: grid; grid-template-columns: minmax(260px, 340px) minmax(0, 1fr); gap: 16px;
  padding: 0 24px 24px; align-items: start; }
nav, article, .empty { background: var(--card); border: 1px solid var(--line);
  border-radius: 12px; overflow: hidden; }
nav { max-height: calc(100vh - 88px); overflow: auto; }
nav:empty { display: none; }
ul { margin: 0; padding: 0; list-style: none; }
li + li { border-top: 1px solid var(--line); }
li a { display: block; padding: 12px 16px; color: inherit; text-decoration: none; }
li a:hover, li a[aria-current] { background: var(--chosen); }
a:focus-visible, summary:focus-visible, pre:focus-visible { outline: 2px solid var(--accent);
  outline-offset: -2px; }
li b { display: block; font-weight: 500; overflow-wrap: anywhere; }
li span { display: block; overflow-wrap: anywhere; }
article { padding: 20px 24px; }
h2 { margin: 0; font-size: 19px; line-height: 1.3; font-weight: 600; overflow-wrap: anywhere; }
article .soft { margin: 2px 0 16px; }
iframe { display: block; width: 100%; height: 620px; border: 1px solid var(--line);
  border-radius: 8px; }
summary { padding: 16px 0 4px; cursor: pointer; }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; font: 13px/1.6 ui-monospace,
  SFMono-Regular, Menlo, Consolas, monospace; }
.empty { grid-column: 1 / -1; margin: 0; padding: 48px 24px; text-align: center;
  color: var(--soft); }
@media (max-width: 760px) {
  header, main { padding-left: 16px; padding-right: 16px; }
  main { grid-template-columns: minmax(0, 1fr); }
  nav { max-height: 264px; }
  article { padding: 16px; }
}
</style>
</head>
<body>
<header>
<img src="/logo.svg" alt="">
<h1>Mail of the demo</h1>
<p class="soft">Nothing is sent: what people would get is kept here, newest first.</p>
<a href="$home">Back to billing</a>
</header>
<main>
<nav aria-label="Mails" tabindex="0">$list</nav>
$mail
</main>
</body>
</html>
""")
