"""Reflex's configuration: one port, this machine only, nothing sent anywhere."""

from pathlib import Path

import reflex as rx

LOCAL_ORIGINS = ("http://localhost:3000", "http://127.0.0.1:3000")
BUILT_ADDRESS = "http://localhost:3000"


class OwnOriginPlugin(rx.plugins.Plugin):
    """Makes the compiled pages talk to the address they were loaded from.

    Reflex bakes `api_url` into the bundle, which ties a build to one host and port. The pages and
    their backend always share an origin here, so one build serves any port and any public URL.
    """

    def post_build(self, **context: object) -> None:
        """Replace the baked address in every compiled script by the page's own origin."""
        static_directory = Path(str(context["static_dir"]))
        scripts = list(static_directory.rglob("*.js"))
        changed = [script for script in scripts if _use_own_origin(script)]
        if not changed:
            raise RuntimeError("no compiled script names the backend: Reflex changed its bundle")


def _use_own_origin(script: Path) -> bool:
    text = script.read_text()
    host = BUILT_ADDRESS.removeprefix("http://")
    http_origin = "globalThis.location.origin"
    websocket_origin = f"{http_origin}.replace(/^http/,`ws`)"
    own = text
    for quote in "`\"'":
        own = own.replace(f"{quote}ws://{host}/", f"{websocket_origin}+{quote}/")
        own = own.replace(f"{quote}http://{host}/", f"{http_origin}+{quote}/")
    if own == text:
        return False
    script.write_text(own)
    return True


config = rx.Config(
    app_name="billing_app",
    frontend_port=3000,
    backend_port=3000,
    api_url=BUILT_ADDRESS,
    deploy_url=BUILT_ADDRESS,
    backend_host="127.0.0.1",
    cors_allowed_origins=list(LOCAL_ORIGINS),
    telemetry_enabled=False,
    show_built_with_reflex=False,
    default_color_mode="system",
    plugins=[
        rx.plugins.RadixThemesPlugin(
            theme=rx.theme(accent_color="iris", gray_color="slate", radius="medium")
        ),
        OwnOriginPlugin(),
    ],
    disable_plugins=[rx.plugins.SitemapPlugin],
)
