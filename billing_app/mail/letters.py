"""The HTML of mails: one column, styles in place, readable in light and dark, nothing loaded."""

from html import escape
from string import Template
from typing import Final

from billing_app.billing.mail import Letter

PARAGRAPH: Final = (
    '<p style="margin:12px 0 0;font-size:15px;line-height:1.5;color:#43464f" class="soft">$text</p>'
)
PAGE: Final = Template("""\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<meta name="supported-color-schemes" content="light dark">
<title>$headline</title>
<style>
@media (prefers-color-scheme: dark) {
  .page { background: #0e0f12 !important; }
  .card { background: #16171b !important; border-color: #2b2d34 !important; }
  .ink { color: #eeeef0 !important; }
  .soft { color: #b2b4bd !important; }
}
</style>
</head>
<body class="page" style="margin:0;padding:0;background:#f5f6f8">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0">
<tr><td align="center" style="padding:32px 16px">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" border="0" style="max-width:520px">
<tr><td class="card" style="padding:28px;background:#ffffff;border:1px solid #e3e4e8;border-radius:12px;font-family:-apple-system,BlinkMacSystemFont,'Segoe UI',Roboto,Helvetica,Arial,sans-serif">
<h1 class="ink" style="margin:0;font-size:20px;line-height:1.3;font-weight:600;color:#1c2024">$headline</h1>
$paragraphs
<p style="margin:24px 0 0"><a href="$url" style="display:inline-block;padding:11px 18px;border-radius:8px;background:#5b5bd6;color:#ffffff;font-size:15px;font-weight:600;text-decoration:none">$button</a></p>
</td></tr>
<tr><td class="soft" style="padding:16px 28px;font-family:-apple-system,BlinkMacSystemFont,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;font-size:12px;line-height:1.5;color:#60646c">$foot</td></tr>
</table>
</td></tr>
</table>
</body>
</html>
""")  # noqa: E501 - mail clients want their styles in place
SMALL_LINK: Final = '<a href="{}" class="soft" style="color:#60646c">{}</a>'


def html_of(letter: Letter, *, unsubscribe_url: str = "") -> str:
    """Whatever the letter says is text, not markup."""
    paragraphs = [PARAGRAPH.replace("$text", escape(text)) for text in letter.paragraphs]
    links = [letter.small_link] if letter.small_link else []
    links += [("Unsubscribe", unsubscribe_url)] if unsubscribe_url else []
    shown = " · ".join(SMALL_LINK.format(escape(url), escape(words)) for words, url in links)
    foot = "<br>".join(part for part in (escape(letter.small_print), shown) if part)
    return PAGE.substitute(
        headline=escape(letter.headline),
        paragraphs="\n".join(paragraphs),
        url=escape(letter.url),
        button=escape(letter.button),
        foot=foot,
    )
