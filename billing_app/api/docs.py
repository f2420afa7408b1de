"""The API reference as a plain HTML page that works without internet access.

FastAPI's own page loads scripts from a third-party host.
"""

from collections.abc import Iterator
from html import escape
from typing import Any, Final

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from billing_app.api.problems import error_codes
from billing_app.routes import API_DOCS, OPENAPI

Json = dict[str, Any]
METHODS: Final = ("get", "post", "put", "patch", "delete")
FIRST_TAG: Final = "executions"
LAST_TAGS: Final = ("health", "problems")
STYLE: Final = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 0 auto; padding: 2rem 1rem 6rem; }
code, .path { font-family: ui-monospace, monospace; font-size: .92em; overflow-wrap: anywhere; }
details { border: 1px solid color-mix(in srgb, currentColor 20%, transparent);
  border-radius: 8px; margin: .5rem 0; padding: .6rem .9rem; }
summary { cursor: pointer; }
.method { display: inline-block; min-width: 4rem; font-weight: 600; text-transform: uppercase; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1rem; }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; }
tr { border-top: 1px solid color-mix(in srgb, currentColor 12%, transparent); }
h2 { margin-top: 2.5rem; } h3 { font-size: 1em; margin: 1rem 0 .25rem; }
"""


def install(api: FastAPI) -> None:
    """Serve the page, rendered from the current OpenAPI document."""

    @api.get(API_DOCS, include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page(api.openapi()))


def page(document: Json) -> str:
    """Render an OpenAPI document as a page."""
    title = escape(document["info"]["title"])
    version = escape(document["info"]["version"])
    tags: dict[str, list[str]] = {}
    for path, methods in document["paths"].items():
        for method in METHODS:
            if method in methods:
                operation = methods[method]
                tag = operation.get("tags", ["other"])[0]
                tags.setdefault(tag, []).append(_operation(document, path, method, operation))
    sections = "".join(
        f"<h2>{escape(tag.capitalize())}</h2>{''.join(tags[tag])}"
        for tag in sorted(tags, key=_place)
    )
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title} API</title><style>{STYLE}</style></head><body><h1>{title} API</h1>"
        f'<p>Version {version}. Machine-readable: <a href="{OPENAPI}">{OPENAPI}</a>. Services send'
        " <code>Authorization: Bearer &lt;key&gt;</code>. Errors are"
        f" <code>application/problem+json</code>.</p>{sections}{_codes()}</body></html>"
    )


def _codes() -> str:
    """Every `code` of an error, with its status."""
    rows = "".join(
        f"<tr><td>{status}</td><td><code>{escape(code)}</code></td><td>{escape(title)}</td></tr>"
        for status, code, title in sorted(error_codes())
    )
    return f"<h2>Error codes</h2><table>{rows}</table>"


def _place(tag: str) -> int:
    """The routes that services call for each execution come first, health and problems last."""
    return (tag in LAST_TAGS) - (tag == FIRST_TAG)


def _operation(document: Json, path: str, method: str, operation: Json) -> str:
    text = operation.get("description") or operation.get("summary", "")
    parts = [f"<p>{escape(text)}</p>"]
    parameters = [
        (
            f"{given['name']} ({given['in']})",
            {"description": given.get("description"), **given["schema"]},
            given.get("required", False),
        )
        for given in operation.get("parameters", [])
    ]
    parts.append(_fields(document, "Parameters", parameters))
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        parts.append(_schema(document, f"Body, {media_type}", content["schema"]))
    for status, response in operation["responses"].items():
        parts.append(_response(document, status, response))
    return (
        f'<details><summary><span class="method">{method}</span>'
        f'<span class="path">{escape(path)}</span></summary>{"".join(parts)}</details>'
    )


def _response(document: Json, status: str, response: Json) -> str:
    heading = f"{status}: {response['description']}"
    content = response.get("content", {}).get("application/json")
    if status.startswith("2") and content:
        return _schema(document, heading, content["schema"])
    return f"<h3>{escape(heading)}</h3>"


def _schema(document: Json, title: str, schema: Json) -> str:
    resolved = _resolved(document, schema)
    required = resolved.get("required", [])
    fields = [(name, of, name in required) for name, of in resolved.get("properties", {}).items()]
    return _fields(document, title, fields) or f"<h3>{escape(title)}</h3>"


def _fields(document: Json, title: str, fields: list[tuple[str, Json, bool]]) -> str:
    if not fields:
        return ""
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code></td>"
        f"<td>{escape(' '.join(_schema_text(document, schema)))}</td>"
        f"<td>{'required' if required else ''}</td></tr>"
        for name, schema, required in fields
    )
    return f"<h3>{escape(title)}</h3><table>{rows}</table>"


def _schema_text(document: Json, schema: Json) -> Iterator[str]:
    """Describe the values that a schema accepts."""
    resolved = _resolved(document, schema)
    choices = resolved.get("anyOf") or resolved.get("oneOf")
    if choices:
        yield " or ".join(" ".join(_schema_text(document, choice)) for choice in choices)
    elif "enum" in resolved:
        yield " or ".join(map(str, resolved["enum"]))
    elif resolved.get("type") == "array":
        yield "list of"
        yield from _schema_text(document, resolved.get("items", {}))
    else:
        yield str(
            resolved.get("title") if "properties" in resolved else resolved.get("type", "anything")
        )
    limits = {"minimum": "from", "maximum": "to", "minLength": "at least", "maxLength": "at most"}
    for name, word in limits.items():
        if name in resolved:
            yield f"{word} {resolved[name]:,}{' characters' if name.endswith('Length') else ''}"
    if resolved.get("default") is not None:
        yield f"(default {resolved['default']})"
    if resolved.get("description") and "properties" not in resolved:
        yield f"· {resolved['description']}"


def _resolved(document: Json, schema: Json) -> Json:
    reference = schema.get("$ref")
    if reference is None:
        return schema
    resolved: Json = document
    for part in reference.removeprefix("#/").split("/"):
        resolved = resolved[part]
    return resolved
