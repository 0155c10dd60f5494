"""PyPI's `websockets` as the client: handshake, messages, close codes (client contract, section 3)."""

from contextlib import suppress

from harness import DEADLINE_S, case, check, closed, connect, main
from websockets.exceptions import ConnectionClosed, InvalidStatus


@case
def text_comes_back_as_text():
    with connect() as socket:
        # Compression is offered, and off by default.
        check.assertEqual(socket.protocol.extensions, [])
        for text in ("hello", "grüße 🌊", "", "x" * 30_000):
            socket.send(text)
            check.assertEqual(socket.recv(timeout=DEADLINE_S), text)


@case
def a_fragmented_message_arrives_whole():
    with connect() as socket:
        socket.send(["one, ", "two, ", "three"])
        check.assertEqual(socket.recv(timeout=DEADLINE_S), "one, two, three")


@case
def a_ping_is_answered():
    with connect() as socket:
        check.assertTrue(socket.ping("are you there").wait(DEADLINE_S))


@case
def the_subprotocol_is_the_backends_choice():
    with connect(subprotocols=["chat.v2", "chat.v1"]) as socket:
        check.assertEqual(socket.subprotocol, "chat.v1")
    with connect(subprotocols=["chat.v3"]) as socket:
        check.assertIsNone(socket.subprotocol)


@case
def a_refused_handshake_shows_its_status():
    for status in (401, 403, 429):
        with check.assertRaises(InvalidStatus) as caught:
            connect(f"?refuse={status}")
        check.assertEqual(caught.exception.response.status_code, status)


@case
def a_binary_message_closes_with_1003():
    with connect() as socket:
        socket.send(b"\x00\x01")
        check.assertEqual(closed(socket)[0], 1003)


@case
def a_frame_over_32_kib_closes_with_1009():
    with connect() as socket:
        socket.send("x" * 32_769)
        check.assertEqual(closed(socket)[0], 1009)


@case
def a_message_over_128_kib_closes_with_1009():
    with connect() as socket:
        # The close frame may come while the last, empty fragment is still to be sent.
        with suppress(ConnectionClosed):
            socket.send(["x" * 32_768] * 4 + ["x"])
        check.assertEqual(closed(socket)[0], 1009)


main()
