"""What a webhook's receiver can do to us: nothing but answer, within a time and a size."""

import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

import httpcore
import pytest
from standardwebhooks import Webhook

from billing_app.billing.webhooks_out.attempts import Message
from billing_app.billing.webhooks_out.secrets import new_secret
from billing_app.client.webhooks import verify_webhook
from billing_app.jobs.webhook_sender import MAX_ANSWER_BYTES, CheckedBackend, WebhookSender
from tests.billing.webhooks_out.receivers import Receiver, receiving

Serve = Callable[[socket.socket], None]
PUBLIC = "93.184.216.34"


def message(url: str, *secrets: str) -> Message:
    return Message(
        delivery_id="whd_1",
        round=0,
        attempts=0,
        endpoint_id="whe_1",
        url=url,
        secrets=list(secrets) or [new_secret()],
        message_id="msg_1",
        body='{"type":"webhook.test","timestamp":"2026-11-30T12:00:00Z","data":{"name":"Zoë"}}',
    )


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving(Receiver()) as made:
        yield made


@contextmanager
def raw_server(serve: Serve) -> Iterator[str]:
    """Hands each connection to `serve` once a request came."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65_536)
            with suppress(OSError):
                serve(self.request)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


async def test_both_libraries_verify_what_is_sent(receiver: Receiver) -> None:
    secrets = [new_secret(), new_secret()]
    sent = message(receiver.url, *secrets)
    answer = await WebhookSender(allow_private=True).send(sent, now())
    assert (answer.status, answer.error, answer.is_success) == (204, "", True)
    (received,) = receiver.received
    assert received.body == sent.body.encode()
    for secret in secrets:
        assert Webhook(secret).verify(received.body, received.headers)["type"] == "webhook.test"
        assert verify_webhook(received.body, received.headers, secret).id == "msg_1"


async def test_receiver_that_answers_nothing_is_given_up() -> None:
    released = threading.Event()

    def serve(_: socket.socket) -> None:
        released.wait(60)

    with raw_server(serve) as url:
        answer = await WebhookSender(allow_private=True, timeout_seconds=0.3).send(
            message(url), now()
        )
        released.set()
    assert answer.status is None
    assert "within 0.3 seconds" in answer.error


async def test_receiver_that_answers_drop_by_drop_is_given_up() -> None:
    """Each byte comes in time; the whole does not."""

    def serve(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(1000):
            connection.sendall(b"x")
            time.sleep(0.05)

    with raw_server(serve) as url:
        answer = await WebhookSender(allow_private=True, timeout_seconds=0.5).send(
            message(url), now()
        )
    assert answer.status is None
    assert not answer.is_success


async def test_ten_megabytes_are_not_read() -> None:
    sent: list[int] = []

    def serve(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 500 No\r\nContent-Length: 10000000\r\n\r\n")
        for _ in range(1_000):
            connection.sendall(b"y" * 10_000)
            sent.append(10_000)

    with raw_server(serve) as url:
        answer = await WebhookSender(allow_private=True).send(message(url), now())
    assert (answer.status, answer.error) == (500, "")
    assert set(answer.text) == {"y"}
    assert len(answer.text) <= 2_000
    assert MAX_ANSWER_BYTES == 65_536
    assert sum(sent) < 10_000_000


async def test_endless_headers_are_refused() -> None:
    def serve(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        for _ in range(10_000):
            connection.sendall(b"a: " + b"b" * 1_000 + b"\r\n")

    with raw_server(serve) as url:
        answer = await WebhookSender(allow_private=True).send(message(url), now())
    assert answer.status is None


async def test_redirect_is_an_answer_and_is_not_followed(receiver: Receiver) -> None:
    with receiving(Receiver()) as elsewhere:
        receiver.answer = lambda _: (307, b"")
        receiver.headers = {"Location": elsewhere.url}
        answer = await WebhookSender(allow_private=True).send(message(receiver.url), now())
        assert (answer.status, answer.is_success) == (307, False)
        assert elsewhere.received == []


@pytest.mark.parametrize(
    "garbage", [b"", b"SSH-2.0\r\n", b"HTTP/1.1 200 OK\r\nX\r\n\r\n", b"\0" * 9]
)
async def test_what_is_no_http_is_a_failure(garbage: bytes) -> None:
    with raw_server(lambda connection: connection.sendall(garbage)) as url:
        answer = await WebhookSender(allow_private=True).send(message(url), now())
    assert answer.status is None
    assert answer.error


async def test_answer_that_is_no_text_is_kept_as_text() -> None:
    def serve(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\xff\x00ok")

    with raw_server(serve) as url:
        answer = await WebhookSender(allow_private=True).send(message(url), now())
    assert answer.text == "\ufffd\0ok"


async def test_unknown_name_and_closed_port_are_failures() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    sender = WebhookSender(allow_private=True, resolver=resolve)
    answer = await sender.send(message("https://nowhere.example/"), now())
    assert answer.error.startswith("Connect: The name was not found")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        assert (await WebhookSender(allow_private=True).send(message(url), now())).error


class Resolver:
    """Answers one list of addresses after another, then the last."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"],
)
async def test_name_of_a_private_address_is_refused(receiver: Receiver, address: str) -> None:
    url = receiver.url.replace("http://127.0.0.1", "https://hooks.example.com")
    sender = WebhookSender(allow_private=False, resolver=Resolver([address]))
    answer = await sender.send(message(url), now())
    assert (answer.status, answer.error) == (None, "The address is not on the public internet.")
    assert receiver.received == []


async def test_name_that_is_private_at_the_second_look_is_never_called(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the connection goes to the very address that was checked."""
    connected: list[str] = []

    class Recorded(httpcore.AsyncNetworkBackend):
        async def connect_tcp(self, host: str, port: int, *rest: Any) -> Any:
            connected.append(host)
            raise httpcore.ConnectError("nobody there")

    resolver = Resolver([PUBLIC], ["127.0.0.1"])
    sender = WebhookSender(allow_private=False, resolver=resolver)
    monkeypatch.setattr(sender._backend, "_backend", Recorded())
    url = receiver.url.replace("http://127.0.0.1", "https://hooks.example.com")
    await sender.send(message(url), now())
    assert connected == [PUBLIC]
    assert resolver.asked == ["hooks.example.com"]
    second = await sender.send(message(url), now())
    assert second.error == "The address is not on the public internet."
    assert connected == [PUBLIC]
    assert receiver.received == []


async def test_http_is_sent_only_where_private_addresses_are_allowed(receiver: Receiver) -> None:
    """Also to an endpoint that was added while they were."""
    answer = await WebhookSender(allow_private=False).send(message(receiver.url), now())
    assert answer.error == "The URL is not https."
    assert receiver.received == []


async def test_only_the_public_ones_of_several_addresses_are_called() -> None:
    connected: list[str] = []

    class Recorded(httpcore.AsyncNetworkBackend):
        async def connect_tcp(self, host: str, port: int, *rest: Any) -> Any:
            connected.append(host)
            raise httpcore.ConnectError("nobody there")

    backend = CheckedBackend(Resolver(["10.0.0.1", PUBLIC, "::1", "8.8.8.8"]), allow_private=False)
    backend._backend = Recorded()
    with pytest.raises(httpcore.ConnectError):
        await backend.connect_tcp("hooks.example.com", 443)
    assert connected == [PUBLIC, "8.8.8.8"]


async def test_name_stays_in_the_host_header(receiver: Receiver) -> None:
    url = receiver.url.replace("127.0.0.1", "hooks.example.com")
    sender = WebhookSender(allow_private=True, resolver=Resolver(["127.0.0.1"]))
    assert (await sender.send(message(url), now())).is_success
    assert receiver.received[0].headers["Host"].startswith("hooks.example.com:")


async def test_proxies_of_the_environment_are_not_used(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiving(Receiver()) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        await WebhookSender(allow_private=True).send(message(receiver.url), now())
        assert proxy.received == []
    assert len(receiver.received) == 1


async def test_receiver_that_speaks_no_tls_gets_nothing_from_an_https_url() -> None:
    with raw_server(lambda _: None) as url:
        secure = url.replace("http://", "https://")
        answer = await WebhookSender(allow_private=True).send(message(secure), now())
    assert answer.status is None
