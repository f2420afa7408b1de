"""The frame of every page: a style for light and dark, phone and desktop, and a clear label."""

from html import escape

from starlette.responses import HTMLResponse

_STYLE = """
:root{color-scheme:light dark;--bg:#f6f8fa;--card:#fff;--ink:#1a1f36;--soft:#4f566b;--line:#c1c9d2;
--brand:#4b45c6;--on-brand:#fff;--bad:#b3093c;--bad-bg:#fdf0f3;--good:#0b6e4f;--note:#5c3a00;
--note-bg:#fff3d6}
@media (prefers-color-scheme:dark){:root{--bg:#0d1117;--card:#161b22;--ink:#e9edf3;--soft:#a9b4c2;
--line:#3c4654;--brand:#8f8bff;--on-brand:#0d1117;--bad:#ff9bb1;--bad-bg:#3a1420;--good:#5fd3a8;
--note:#ffdf9e;--note-bg:#3a2c0a}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
.label{background:var(--note-bg);color:var(--note);padding:.5rem 1rem;text-align:center;
font-size:.9rem}
main{max-width:60rem;margin:0 auto;padding:1.5rem 1rem 4rem}
.two{display:grid;gap:1.5rem}
@media (min-width:48rem){.two{grid-template-columns:5fr 6fr;gap:2.5rem}main{padding-top:3rem}}
.card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:1.25rem;
margin:0 0 1rem}
.narrow{max-width:30rem;margin-inline:auto}
h1{font-size:1.4rem;margin:0 0 .5rem}h2{font-size:1.1rem;margin:1.5rem 0 .5rem}
.price{font-size:2.2rem;font-weight:650;margin:.25rem 0 1rem;font-variant-numeric:tabular-nums}
.soft{color:var(--soft)}.good{color:var(--good)}
dl{margin:0}.row{display:flex;justify-content:space-between;gap:1rem;padding:.4rem 0}
.row+.row{border-top:1px solid var(--line)}.row dd{margin:0;font-variant-numeric:tabular-nums}
label{display:block;font-weight:600;margin:.9rem 0 .25rem}
input,select{width:100%;font:inherit;color:inherit;background:var(--bg);
border:1px solid var(--line);border-radius:8px;padding:.65rem .75rem;min-height:44px}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:.75rem;align-items:end}
button,.button{display:inline-block;font:inherit;font-weight:600;border-radius:8px;cursor:pointer;
border:1px solid var(--line);background:var(--card);color:var(--ink);padding:.6rem 1rem;
min-height:44px;text-decoration:none}
.main-action{width:100%;background:var(--brand);border-color:var(--brand);color:var(--on-brand);
margin-top:1.25rem}
:focus-visible{outline:3px solid var(--brand);outline-offset:2px}
a{color:var(--brand)}
.alert{background:var(--bad-bg);color:var(--bad);border-radius:8px;padding:.75rem 1rem;
margin:0 0 1rem}
.actions{display:flex;flex-wrap:wrap;gap:.5rem;margin-top:.75rem}.actions form{margin:0}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.5rem .75rem .5rem 0;border-bottom:1px solid var(--line)}
td.number,th.number{text-align:right;font-variant-numeric:tabular-nums;padding-right:0}
details{margin-top:1rem}summary{cursor:pointer;min-height:32px}
"""
_CARDS = (
    ("4242 4242 4242 4242", "succeeds"),
    ("4000 0000 0000 3220", "requires 3-D Secure, then succeeds"),
    ("4000 0025 0000 3155", "requires 3-D Secure once"),
    ("4000 0027 6000 3184", "requires 3-D Secure every time"),
    ("4000 0000 0000 0002", "is declined"),
    ("4000 0000 0000 9995", "has insufficient funds"),
    ("4000 0000 0000 0069", "has expired"),
    ("4000 0000 0000 0341", "is saved, but fails when charged"),
)


def document(title: str, body: str, status: int = 200) -> HTMLResponse:
    """A complete page. `body` is HTML; the caller escapes everything that comes from outside."""
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="robots" content="noindex"><link rel="icon" href="data:,">'
        f"<style>{_STYLE}</style></head><body>"
        '<div class="label" role="note"><strong>Stripe sandbox.</strong> '
        "A local stand-in for tests and demos: no real card, no real money.</div>"
        f"<main>{body}</main></body></html>"
    )
    return HTMLResponse(page, status, {"Cache-Control": "no-store"})


def message(title: str, text: str, status: int = 200) -> HTMLResponse:
    body = f'<div class="card narrow"><h1>{escape(title)}</h1><p>{escape(text)}</p></div>'
    return document(title, body, status)


def alert(text: str) -> str:
    return f'<p class="alert" role="alert" id="problem">{escape(text)}</p>' if text else ""


def row(term: str, value: str) -> str:
    return f'<div class="row"><dt>{escape(term)}</dt><dd>{escape(value)}</dd></div>'


def hidden(**fields: str) -> str:
    return "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">'
        for name, value in fields.items()
    )


def card_fields(problem: str = "") -> str:
    """Fields for number, expiry and security code, with the test cards as suggestions."""
    described = ' aria-invalid="true" aria-describedby="problem"' if problem else ""
    options = "".join(f'<option value="{number}">{text}</option>' for number, text in _CARDS)
    rows = "".join(f"<tr><td>{number}</td><td>{text}</td></tr>" for number, text in _CARDS)
    return (
        '<label for="number">Card number</label>'
        '<input id="number" name="number" inputmode="numeric" autocomplete="cc-number" required '
        f'placeholder="4242 4242 4242 4242" list="cards" maxlength="23"{described}>'
        f'<datalist id="cards">{options}</datalist>'
        '<div class="pair"><div><label for="expiry">Expires</label>'
        '<input id="expiry" name="expiry" inputmode="numeric" autocomplete="cc-exp" required '
        'placeholder="12 / 34" maxlength="7" pattern="\\d{1,2} ?/ ?\\d{2}(\\d{2})?"></div>'
        '<div><label for="cvc">Security code</label>'
        '<input id="cvc" name="cvc" inputmode="numeric" autocomplete="cc-csc" required '
        'placeholder="123" maxlength="4" pattern="\\d{3,4}"></div></div>'
        "<details><summary>Test cards</summary>"
        f'<div class="scroll"><table><tbody>{rows}</tbody></table></div></details>'
    )


_COUNTRIES = {"AT": "Austria", "AU": "Australia", "CA": "Canada", "CH": "Switzerland",
              "DE": "Germany", "FR": "France", "GB": "United Kingdom", "IE": "Ireland",
              "JP": "Japan", "NL": "Netherlands", "US": "United States"}  # fmt: skip


def address_fields(address: dict[str, str | None], *, is_required: bool) -> str:
    """Fields for a billing address, filled with the known one."""
    known = address.get("country") or "US"
    countries = "".join(
        f'<option value="{code}"{" selected" if code == known else ""}>{name}</option>'
        for code, name in (_COUNTRIES | {known: _COUNTRIES.get(known, known)}).items()
    )
    required = " required" if is_required else ""
    postal_code = text_field(
        "postal_code", "Postal code", address.get("postal_code"), "postal-code"
    )
    city = text_field("city", "City", address.get("city"), "address-level2")
    return (
        f'<label for="country">Country</label><select id="country" name="country" '
        f'autocomplete="country">{countries}</select>'
        + text_field("line1", "Address", address.get("line1"), "address-line1", required)
        + f'<div class="pair"><div>{postal_code}</div><div>{city}</div></div>'
    )


def text_field(name: str, label: str, value: str | None, autocomplete: str, more: str = "") -> str:
    return (
        f'<label for="{name}">{label}</label><input id="{name}" name="{name}" '
        f'autocomplete="{autocomplete}" value="{escape(value or "")}"{more}>'
    )


def read_expiry(text: str) -> tuple[int, int]:
    """`12 / 34` -> (12, 2034). Raises ValueError."""
    month, _, year = text.replace(" ", "").partition("/")
    full_year = int(year) + (2000 if len(year) == 2 else 0)
    return int(month), full_year
