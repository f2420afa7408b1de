"""The HTML of mails: one column, styles in place, readable in light and dark, nothing loaded.

Tables and `bgcolor` are for Outlook, which knows no other layout; the style sheet is for the rest.
"""

from html import escape
from string import Template
from typing import Final

from billing_app.billing.mail import PRODUCT, Letter

FONT: Final = "-apple-system,BlinkMacSystemFont,'Segoe UI',Roboto,Helvetica,Arial,sans-serif"
TABLE: Final = 'role="presentation" cellpadding="0" cellspacing="0" border="0"'
PARAGRAPH: Final = (
    '<p class="soft" style="margin:{}px 0 0;font-size:15px;line-height:1.55;color:#43464f">{}</p>'
)
# Keeps mail clients from filling the preview up with what follows it.
PREHEADER: Final = (
    '<div style="display:none;max-height:0;overflow:hidden;mso-hide:all">{}' + "&#847;&zwnj;" * 80
) + "</div>"
ROWS: Final = f'<table {TABLE} width="100%" style="margin:20px 0 0">{{}}</table>'
ROW: Final = (
    '<tr><td class="soft line" valign="top" style="padding:9px 16px 9px 0;border-top:1px solid'
    ' #e3e4e8;font-size:14px;line-height:1.4;color:#60646c">{}</td><td class="ink line"'
    ' align="right" valign="top" style="padding:9px 0;border-top:1px solid #e3e4e8;font-size:14px;'
    'line-height:1.4;font-weight:600;color:#1c2024;word-break:break-word">{}</td></tr>'
)
BUTTON: Final = (
    f'<table {TABLE} style="margin:24px 0 0"><tr><td bgcolor="#5b5bd6" style="border-radius:8px">'
    '<a href="{}" style="display:inline-block;padding:12px 20px;border-radius:8px;'
    "background:#5b5bd6;color:#ffffff;font-size:15px;line-height:1.3;font-weight:600;"
    'text-decoration:none">{}</a></td></tr></table>'
)
BAR: Final = (
    '<td valign="bottom" style="padding:0 1px"><div style="width:3px;height:{}px;'
    'background:#ffffff;border-radius:1px;font-size:0;line-height:0">&nbsp;</div></td>'
)
MARK: Final = (
    f'<table {TABLE}><tr><td bgcolor="#5b5bd6" width="24" height="24" align="center"'
    f' style="width:24px;height:24px;border-radius:6px;background:#5b5bd6"><table {TABLE}><tr>'
    f"{''.join(BAR.format(height) for height in (6, 9, 12))}</tr></table></td>"
    '<td class="ink" style="padding:0 0 0 9px;font-size:15px;font-weight:600;color:#1c2024">'
    f"{PRODUCT}</td></tr></table>"
)
SMALL_LINK: Final = '<a href="{}" class="soft" style="color:#60646c">{}</a>'
PAGE: Final = Template(f"""\
<!doctype html>
<html lang="en" dir="ltr">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="supported-color-schemes" content="light dark">
<meta name="format-detection" content="telephone=no, date=no, address=no, email=no">
<title>$headline</title>
<style>
:root {{ color-scheme: light dark; supported-color-schemes: light dark; }}
@media (max-width: 480px) {{
  .card {{ padding: 24px 20px !important; }}
  .around {{ padding: 20px 12px !important; }}
}}
@media (prefers-color-scheme: dark) {{
  .page {{ background: #0e0f12 !important; }}
  .card {{ background: #16171b !important; border-color: #2b2d34 !important; }}
  .line {{ border-color: #2b2d34 !important; }}
  .ink {{ color: #eeeef0 !important; }}
  .soft {{ color: #b2b4bd !important; }}
}}
</style>
</head>
<body class="page" style="margin:0;padding:0;background:#f5f6f8;font-family:{FONT};-webkit-text-size-adjust:100%">
$preheader
<table {TABLE} class="page" width="100%" bgcolor="#f5f6f8" style="background:#f5f6f8">
<tr><td class="around" align="center" style="padding:32px 16px;font-family:{FONT}">
<table {TABLE} width="100%" style="max-width:520px">
<tr><td style="padding:0 4px 16px;font-family:{FONT}">{MARK}</td></tr>
<tr><td class="card" bgcolor="#ffffff" style="padding:32px;background:#ffffff;border:1px solid #e3e4e8;border-radius:12px;font-family:{FONT}">
<h1 class="ink" style="margin:0;font-size:21px;line-height:1.3;font-weight:600;color:#1c2024">$headline</h1>
$body
</td></tr>
<tr><td class="soft" style="padding:18px 4px 0;font-family:{FONT};font-size:12px;line-height:1.6;color:#60646c">$foot</td></tr>
</table>
</td></tr>
</table>
</body>
</html>
""")  # noqa: E501 - mail clients want their styles in place


def html_of(letter: Letter, *, unsubscribe_url: str = "") -> str:
    """Whatever the letter says is text, not markup."""
    links = [letter.small_link] if letter.small_link else []
    links += [("Unsubscribe", unsubscribe_url)] if unsubscribe_url else []
    shown = " · ".join(SMALL_LINK.format(escape(url), escape(words)) for words, url in links)
    foot = "<br>".join(part for part in (escape(letter.small_print), shown) if part)
    return PAGE.substitute(
        headline=escape(letter.headline),
        preheader=PREHEADER.format(escape(letter.preview)),
        body="\n".join(_body(letter)),
        foot=foot,
    )


def _body(letter: Letter) -> list[str]:
    parts = [PARAGRAPH.format(12, escape(text)) for text in letter.paragraphs]
    if letter.rows:
        rows = (ROW.format(escape(name), escape(value)) for name, value in letter.rows)
        parts.append(ROWS.format("".join(rows)))
    if letter.button:
        parts.append(BUTTON.format(escape(letter.url), escape(letter.button)))
    return parts + [PARAGRAPH.format(20, escape(text)) for text in letter.notes]
